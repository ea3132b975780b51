"""The processes that a process fault strikes: found by title in the role's container, known by pid and start time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.faults import fault, signal_helper
from drillbook.faults.fault import Draw
from drillbook.faults.gangs import runs
from drillbook.faults.selection import select
from drillbook.model.experiment import PodStep
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import ObjectRef, ProcessRef
from drillbook.targets import paths, processes
from drillbook.targets.answers import ForbiddenError
from drillbook.targets.podexec import NoProgramError
from drillbook.targets.processes import Process
from drillbook.targets.target import Target


class ProcessStep(PodStep):
    """A step that strikes processes by their title."""

    process: str = Field(default="VLLM::EngineCore", min_length=1, max_length=200)
    """The title as ``ps`` shows it; ``VLLM::Worker`` also means every ``VLLM::Worker_TP0``, ``VLLM::Worker_TP1`` …"""
    container: str | None = None
    """The container to look in; found by the stack's names otherwise."""
    via: Literal["exec", "helper"] | None = None
    """``exec`` needs a shell in the image, ``helper`` a privileged pod on its node; what is not said is found."""


@dataclass(frozen=True)
class Victim:
    """One container, and the processes in it that are struck."""

    pod: ObjectRef
    container: str
    container_id: str
    processes: tuple[ProcessRef, ...]
    stopped: tuple[ProcessRef, ...] = ()
    """Those of them that were stopped (state T) when they were found."""


async def plan(
    step: ProcessStep, index: int, target: Target, draw: Draw, *, signal: str, undo_summary: str
) -> PlannedFault:
    """Choose pods, see that each has such a process now, and plan to send it ``signal``.

    :raises UnsupportedError: no shell, no such process, or pods in which one sees the whole machine.
    :raises PreflightError: not enough pods.
    """
    pods, radius = await select(step, index, target, draw)
    containers = {step.container or target.container(pod, step.role) for pod in pods}
    if len(containers) != 1:
        raise UnsupportedError(
            f"the {step.role} pods run in containers of different names: {', '.join(sorted(containers))}",
            hint="say which: container: NAME",
        )
    container = containers.pop()
    for pod in pods:
        _isolated(pod, container)
    lacking = "" if step.via == "helper" else await _lacking(step, pods, container, target)
    refs = tuple(map(paths.pod_ref, pods))
    planned = PlannedFault(
        id=f"{index}-{step.fault}",
        fault=step.fault,
        at=step.at,
        hold=step.for_,
        summary=f"SIG{signal} to {step.process} in {len(refs)} of {radius.role_total} {step.role} pods",
        targets=refs,
        calls=tuple(_call(ref, container, step.process, signal) for ref in refs),
        undo=(),
        undo_summary=undo_summary,
        radius=radius,
        permissions=permissions(target),
        container=container,
        options={"process": step.process},
    )
    if step.via == "helper" or lacking:
        try:
            return await signal_helper.plan(planned, pods, signal, target, draw.run_id)
        except UnsupportedError as error:
            raise UnsupportedError("; ".join(filter(None, (lacking, error.message))), error.hint) from error
    return planned


async def _lacking(step: ProcessStep, pods: list[dict[str, Any]], container: str, target: Target) -> str:
    """Why exec does not reach the processes, where a helper may; empty where all were found by it.

    :raises UnsupportedError: there is no such process, or the step insists on exec.
    """
    try:
        await asyncio.gather(*(_victim(target, pod, container, step.process) for pod in pods))
    except (NoProgramError, ForbiddenError) as error:
        if step.via == "exec":
            raise
        return error.message
    return ""


def permissions(target: Target) -> tuple[Permission, ...]:
    """What it takes to look into a pod and signal its processes."""
    needs = ("get", "create")  # a WebSocket is opened by GET; newer API servers ask for create as well
    return (
        Permission(verb="get", group="", resource="pods", namespace=target.namespace),
        *(
            Permission(verb=verb, group="", resource="pods", subresource="exec", namespace=target.namespace)
            for verb in needs
        ),
    )


async def find(planned: PlannedFault, target: Target) -> tuple[Victim, ...]:
    """The victims as they are now.

    :raises RefusedError: a pod was replaced meanwhile, is ending, or has no such process any more.
    """
    title, refs = str(planned.options["process"]), planned.targets
    pods = await asyncio.gather(*(target.kube.find(paths.of(ref)) for ref in refs))
    for ref, pod in zip(refs, pods, strict=True):
        if pod is None or pod["metadata"]["uid"] != ref.uid or not runs(pod):
            raise RefusedError(f"pod {ref.name} was already gone or ending before the fault")
    try:
        return tuple(await asyncio.gather(*(_victim(target, pod, planned.container, title) for pod in pods if pod)))
    except UnsupportedError as error:
        raise RefusedError(error.message, error.hint) from error


async def strike(found: tuple[Victim, ...], signal: str, target: Target) -> str:
    """Send the signal to all of them, and say so.

    :raises DrillbookError: the first refusal, once all have been asked.
    """
    doubt = await fault.strike(
        processes.signal(target.kube, victim.pod, victim.container, victim.processes, signal) for victim in found
    )
    return f"SIG{signal} sent to {sum(len(victim.processes) for victim in found)} process(es){doubt}"


async def seen(victim: Victim, target: Target) -> dict[ProcessRef, Process | None]:
    """What a second look shows of each process; None where it has ended."""
    now = await processes.look(target.kube, victim.pod, victim.container)
    return {ref: processes.find(now, ref) for ref in victim.processes}


async def container_id(target: Target, pod: ObjectRef, container: str) -> str:
    """The id of the container that runs now; empty where it does not run, or the pod is gone."""
    found = await target.kube.find(paths.of(pod))
    if found is None or found["metadata"]["uid"] != pod.uid:
        return ""
    return _running_id(found, container)


def _running_id(pod: dict[str, Any], container: str) -> str:
    for status in pod.get("status", {}).get("containerStatuses") or []:
        if status["name"] == container and "running" in (status.get("state") or {}):
            return str(status.get("containerID", ""))
    return ""


async def _victim(target: Target, pod: dict[str, Any], container: str, title: str) -> Victim:
    ref = paths.pod_ref(pod)
    running = _running_id(pod, container)
    if not running:
        raise UnsupportedError(f"container {container} of pod {ref.name} is not running")
    there = await processes.look(target.kube, ref, container)
    struck = processes.titled(there, title)
    if not struck:
        titles = ", ".join(sorted({process.ref.title[:60] for process in there if process.ref.pid > 1})) or "none"
        raise UnsupportedError(
            f"no process in {ref.name}/{container} has the title {title!r}",
            hint=f"its processes are: {titles}",
        )
    if any(process.ref.pid <= 1 for process in struck):
        raise UnsupportedError(
            f"{title!r} is process 1 of {ref.name}/{container}: the kernel shields it from signals sent inside",
            hint="use pod-kill",
        )
    stopped = tuple(process.ref for process in struck if process.stopped)
    return Victim(ref, container, running, tuple(process.ref for process in struck), stopped)


def _isolated(pod: dict[str, Any], container: str) -> None:
    if pod["spec"].get("hostPID"):
        raise UnsupportedError(
            f"pod {pod['metadata']['name']} has hostPID: its container {container} sees the processes of others",
            hint="process faults keep to pods with a PID namespace of their own",
        )


def _call(ref: ObjectRef, container: str, title: str, signal: str) -> Call:
    return Call(
        verb="POST",
        path=f"{paths.of(ref)}/exec?container={container}",
        body=f"sh: kill -s {signal} PID, where /proc/PID/cmdline is {title} and the start time is as recorded",
        why=f"SIG{signal} to {title} in {ref.name}",
    )
