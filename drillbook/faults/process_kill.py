"""process-kill: SIGKILL to a process inside a pod, by title. What an out-of-memory kill or a crash does to an engine.

A dead vLLM engine core takes the API server with it: in-flight streams end with an error inside a 200, the server exits
with code 0 (measured on vLLM 0.32), and the kubelet restarts the container.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from drillbook.errors import DrillbookError
from drillbook.faults import proof, signal_helper, victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.victims import ProcessStep, Victim
from drillbook.model.plan import PlannedFault
from drillbook.targets.target import Target


class ProcessKillStep(ProcessStep):
    """Kill the processes with this title in each chosen pod."""

    held: ClassVar[bool] = False
    fault: Literal["process-kill"]


class ProcessKill:
    """See the module."""

    name = "process-kill"
    summary = "SIGKILL to a process in a pod, by title"
    step = ProcessKillStep

    async def plan(self, step: ProcessKillStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        undo_summary = "none: the kubelet restarts the container"
        return await victims.plan(step, index, target, draw, signal="KILL", undo_summary=undo_summary)

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        if planned.options.get("via") == signal_helper.NAME:
            return await signal_helper.inject(planned, target, record)
        found = await victims.find(planned, target)
        await record(())
        return Injected(await victims.strike(found, "KILL", target), seen={"victims": found})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        if planned.options.get("via") == signal_helper.NAME:
            return signal_helper.bite(planned, injected)
        left: list[Victim] = list(injected.seen["victims"])

        async def look() -> Bite:
            left[:] = [victim for victim in left if await lives(victim, target)]
            names = ", ".join(victim.pod.name for victim in left)
            still = f"{planned.options['process']} in {names} is not seen to have ended"
            ended = f"{planned.options['process']} ended in {', '.join(ref.name for ref in planned.targets)}"
            return Bite(not left, still if left else ended)

        return await proof.until(look, seconds)


async def lives(victim: Victim, target: Target) -> bool:
    """Whether any of the processes is still alive; a container that has ended or was restarted answers for all."""
    if await victims.container_id(target, victim.pod, victim.container) != victim.container_id:
        return False
    try:
        now = await victims.seen(victim, target)
    except DrillbookError:
        if await victims.container_id(target, victim.pod, victim.container) != victim.container_id:
            return False
        raise
    return any(process is not None and process.alive for process in now.values())


FAULT: Fault = ProcessKill()
