"""The driver of process faults that needs no shell in the image: a helper pod sends the signal from outside.

The processes are found and told by the node's pids. A stopped one goes on when its helper ends; should that be killed,
the undo looks from another.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec

from drillbook.errors import RefusedError
from drillbook.faults.fault import Bite, Injected, Record
from drillbook.faults.gangs import runs
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import ClearLink, ObjectRef, UndoOperation
from drillbook.targets import helper, paths
from drillbook.targets.target import Target

NAME = "helper"
LONGEST = 3600.0
"""Seconds after which a helper lets its processes go on where the step says no ``for``."""
SLACK = 30.0
START_SECONDS = 60.0

Json = dict[str, Any]


async def plan(planned: PlannedFault, pods: list[Json], signal: str, target: Target, run_id: str) -> PlannedFault:
    """The same fault, by helper pods instead of exec.

    :raises UnsupportedError: the target does not allow them.
    """
    manifests, looks = [], []
    for pod in pods:
        arguments = _arguments(pod, planned.container, str(planned.options["process"]), signal)
        seconds = (planned.hold or LONGEST) + SLACK
        argv = ("signal", arguments)
        manifests.append(helper.manifest(target, run_id=run_id, purpose="signal", argv=argv, near=pod, seconds=seconds))
        clear = ("--clear", *argv)
        look = helper.manifest(target, run_id=run_id, purpose="clear", argv=clear, near=pod, seconds=SLACK)
        looks.append(ClearLink(pod=paths.pod_ref(pod), helper=look))
    for manifest in manifests:
        await helper.check(target, manifest)
    held: tuple[UndoOperation, ...] = tuple(looks) if signal == "STOP" else ()
    return msgspec.structs.replace(
        planned,
        summary=f"{planned.summary}, from outside by helper pods (the image has no shell, or exec is not allowed)",
        calls=tuple(map(helper.call, manifests)),
        undo=(*held, *map(helper.undo, manifests)),  # carried out from the last to the first
        undo_summary=f"{planned.undo_summary}; the helper pods are deleted",
        permissions=tuple(dict.fromkeys(need for each in manifests for need in helper.permissions(each))),
        options={**planned.options, "via": NAME, "helpers": manifests},
    )


async def inject(planned: PlannedFault, target: Target, record: Record) -> Injected:
    """Start the helpers, and wait until each has told what it struck.

    :raises RefusedError: a pod was gone or ending, or a helper does not work.
    :raises UnsupportedError: a helper finds no such process.
    """
    for ref in planned.targets:
        pod = await target.kube.find(paths.of(ref))
        if pod is None or pod["metadata"]["uid"] != ref.uid or not runs(pod):
            raise RefusedError(f"pod {ref.name} was already gone or ending before the fault")
    manifests: Any = planned.options["helpers"]
    await record(planned.undo)
    refs = await asyncio.gather(*(helper.start(target, manifest) for manifest in manifests))
    told = await asyncio.gather(*(_did(target, ref) for ref in refs))
    struck = [process for did in told for process in did["processes"]]
    signal = told[0]["signal"]
    return Injected(f"SIG{signal} sent to {len(struck)} process(es)", undo=planned.undo, seen={"struck": struck})


def bite(planned: PlannedFault, injected: Injected) -> Bite:
    """A helper tells what it did only once the node shows the process stopped, or gone."""
    names = ", ".join(ref.name for ref in planned.targets)
    shown = ", ".join(f"{each['title']} (pid {each['pid']} of the node)" for each in injected.seen["struck"])
    return Bite(True, f"{shown} in {names}: seen on the node")


async def _did(target: Target, ref: ObjectRef) -> Json:
    lines = await helper.said(target, ref, START_SECONDS)
    did: Json = lines[0]["did"]
    return did


def _arguments(pod: Json, container: str, title: str, signal: str) -> str:
    rows = pod.get("status", {}).get("containerStatuses") or []
    return json.dumps(
        {
            "pod": pod["metadata"]["uid"],
            "container": container,
            "container_id": next((row.get("containerID", "") for row in rows if row["name"] == container), ""),
            "title": title,
            "signal": signal,
        }
    )
