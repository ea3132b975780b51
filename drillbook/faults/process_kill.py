"""process-kill: SIGKILL to a process inside a pod, by title. What an out-of-memory kill or a crash does to an engine.

A dead vLLM engine core takes the API server with it: in-flight streams end with an error inside a 200, the server exits
with code 0 (measured on vLLM 0.32), and the kubelet restarts the container.
"""

from __future__ import annotations

import asyncio
from typing import ClassVar, Literal

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.faults import victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike
from drillbook.faults.victims import ProcessStep, Victim
from drillbook.model.plan import PlannedFault
from drillbook.targets import processes
from drillbook.targets.target import Target

LOOK_SECONDS = 0.1


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
        chosen = await victims.choose(step, index, target, draw, "KILL")
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"SIGKILL to {step.process} in {len(chosen.refs)} of {chosen.radius.role_total} {step.role} pods",
            targets=chosen.refs,
            calls=chosen.calls,
            undo=(),
            undo_summary="none: the kubelet restarts the container",
            radius=chosen.radius,
            permissions=chosen.permissions,
            container=chosen.container,
            options={"process": step.process},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        found = await victims.find(planned.targets, planned.container, str(planned.options["process"]), target)
        await record(())
        doubt = await strike(_kill(victim, target) for victim in found)
        count = sum(len(victim.processes) for victim in found)
        return Injected(f"SIGKILL sent to {count} process(es){doubt}", seen={"victims": found})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        until = clock.monotonic() + seconds
        left: list[Victim] = list(injected.seen["victims"])
        problem = ""
        while left:
            try:
                left = [victim for victim in left if await _lives(victim, target)]
            except DrillbookError as error:
                problem = f" ({error})"
            if left and clock.monotonic() > until:
                names = ", ".join(victim.pod.name for victim in left)
                return Bite(False, f"{planned.options['process']} in {names} is not seen to have ended{problem}")
            await asyncio.sleep(LOOK_SECONDS if left else 0)
        return Bite(True, f"{planned.options['process']} ended in {', '.join(ref.name for ref in planned.targets)}")


async def _kill(victim: Victim, target: Target) -> None:
    await processes.signal(target.kube, victim.pod, victim.container, victim.processes, "KILL")


async def _lives(victim: Victim, target: Target) -> bool:
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
