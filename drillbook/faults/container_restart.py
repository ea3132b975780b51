"""container-restart: end all processes of a container, so that the kubelet starts it anew; several times: a crash loop.

Process 1 of a container is shielded from SIGKILL sent inside and gets SIGTERM; all others get SIGKILL. From the second
time on the kubelet waits before it starts the container again (CrashLoopBackOff: 10 s, doubling to 5 minutes).
"""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar, Literal

from pydantic import Field

from drillbook import clock
from drillbook.errors import RefusedError, UnsupportedError
from drillbook.faults import proof, victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike, unrestored
from drillbook.faults.selection import select
from drillbook.model.experiment import PodStep
from drillbook.model.plan import Call, PlannedFault
from drillbook.model.undo import ObjectRef
from drillbook.targets import paths, processes
from drillbook.targets.kube import Json
from drillbook.targets.target import Target

LOOK_SECONDS = 0.2
END_SECONDS = 30.0
"""How long a container may take to end; a Python program that is process 1 ignores SIGTERM unless it handles it."""
AGAIN_SECONDS = 360.0
"""How long a container may take to run again: the longest back-off, and a minute."""


class ContainerRestartStep(PodStep):
    """End the container of each chosen pod, once or more."""

    held: ClassVar[bool] = False
    fault: Literal["container-restart"]
    times: int = Field(default=1, ge=1, le=10)
    """How often; each time as soon as it runs again. Three are a crash loop, which takes half a minute of back-off."""
    container: str | None = None
    """The container; found by the stack's names otherwise."""


class ContainerRestart:
    """See the module."""

    name = "container-restart"
    summary = "end all processes of a container, once or in a crash loop; the kubelet restarts it"
    step = ContainerRestartStep

    async def plan(self, step: ContainerRestartStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods, radius = await select(step, index, target, draw)
        container = step.container or target.container(pods[0], step.role)
        for pod in pods:
            if pod["spec"].get("restartPolicy", "Always") != "Always":
                raise UnsupportedError(
                    f"pod {pod['metadata']['name']} is not restarted (restartPolicy {pod['spec']['restartPolicy']})",
                    hint="use pod-kill",
                )
            if pod["spec"].get("hostPID") or pod["spec"].get("shareProcessNamespace"):
                raise UnsupportedError(f"pod {pod['metadata']['name']} shares its processes: others would be hit")
        refs = tuple(map(paths.pod_ref, pods))
        await asyncio.gather(*(processes.look(target.kube, ref, container) for ref in refs))
        often = "" if step.times == 1 else f", {step.times} times in a row"
        return unrestored(
            step,
            index,
            summary=f"end the container {container} in {len(refs)} of {radius.role_total} {step.role} pods{often}",
            targets=refs,
            calls=tuple(_call(ref, container) for ref in refs),
            mended_by="the kubelet restarts the container",
            radius=radius,
            permissions=victims.permissions(target),
            container=container,
            options={"times": step.times},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        times, container = int(str(planned.options["times"])), planned.container
        before = {ref.uid: _restarts(await _status(ref, container, target)) for ref in planned.targets}
        await record(())
        doubt = ""
        for number in range(times):
            doubt = await strike(_end(ref, container, target, again=number > 0) for ref in planned.targets)
        return Injected(f"{container} ended {times} time(s){doubt}", seen={"before": before})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        times, before = int(str(planned.options["times"])), injected.seen["before"]

        async def look() -> Bite:
            told, short = [], False
            for ref in planned.targets:
                status = await _status(ref, planned.container, target)
                ends = _restarts(status) - before[ref.uid] + (0 if "running" in status["state"] else 1)
                short = short or ends < times
                waits = (status["state"].get("waiting") or {}).get("reason", "")
                told.append(f"{ref.name} ended {ends} time(s){f' and waits: {waits}' if waits else ''}")
            return Bite(not short, "; ".join(told))

        return await proof.until(look, seconds)


async def _end(ref: ObjectRef, container: str, target: Target, *, again: bool) -> None:
    until = clock.monotonic() + AGAIN_SECONDS
    while again and "running" not in (await _status(ref, container, target))["state"]:
        if clock.monotonic() > until:
            raise RefusedError(f"{container} of {ref.name} does not run again, so that it could be ended once more")
        await asyncio.sleep(LOOK_SECONDS)
    there = [process.ref for process in await processes.look(target.kube, ref, container) if process.alive]
    others, first = (tuple(each for each in there if (each.pid > 1) is above) for above in (True, False))
    if others:
        await processes.signal(target.kube, ref, container, others, "KILL")
    status = await _status(ref, container, target)
    if first and "running" in status["state"]:
        await _terminate(ref, container, first, target)
    until = clock.monotonic() + END_SECONDS
    while _same(await _status(ref, container, target), status):
        if clock.monotonic() > until:
            raise RefusedError(
                f"{container} of {ref.name} does not end: its process 1 takes no notice of SIGTERM", hint="use pod-kill"
            )
        await asyncio.sleep(LOOK_SECONDS)


async def _terminate(ref: ObjectRef, container: str, first: tuple[Any, ...], target: Target) -> None:
    try:
        await processes.signal(target.kube, ref, container, first, "TERM")
    except RefusedError:
        status = await _status(ref, container, target)
        if "running" in status["state"]:
            raise  # else it ended by itself when the others had gone


def _same(now: Json, before: Json) -> bool:
    return now.get("containerID") == before.get("containerID") and "running" in now["state"]


async def _status(ref: ObjectRef, container: str, target: Target) -> Json:
    """The container's status.

    :raises RefusedError: the pod is gone, or has no such container.
    """
    pod = await target.kube.find(paths.of(ref))
    if pod is None or pod["metadata"]["uid"] != ref.uid:
        raise RefusedError(f"pod {ref.name} is gone")
    for status in pod.get("status", {}).get("containerStatuses") or []:
        if status["name"] == container:
            return {"state": {}, **status}
    raise RefusedError(f"pod {ref.name} has no container {container}")


def _restarts(status: Json) -> int:
    return int(status.get("restartCount", 0))


def _call(ref: ObjectRef, container: str) -> Call:
    return Call(
        verb="POST",
        path=f"{paths.of(ref)}/exec?container={container}",
        body="sh: kill -s KILL all but process 1, which gets TERM",
        why=f"end {container} of {ref.name}",
    )


FAULT: Fault = ContainerRestart()
