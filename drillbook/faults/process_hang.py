"""process-hang: SIGSTOP to a process inside a pod, by title. It keeps its memory, sockets and locks, and does nothing.

This is what a hung GPU kernel or collective looks like from outside: ``/health`` of a vLLM server stays 200 for as long
as was watched, and requests hang (measured on vLLM 0.32). The undo is SIGCONT to the very same processes.
"""

from __future__ import annotations

from typing import Literal

from drillbook.errors import RefusedError
from drillbook.faults import proof, signal_helper, victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.victims import ProcessStep, Victim
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import SignalProcess
from drillbook.targets.target import Target


class ProcessHangStep(ProcessStep):
    """Stop the processes with this title in each chosen pod, and let them go on at the undo."""

    fault: Literal["process-hang"]


class ProcessHang:
    """See the module."""

    name = "process-hang"
    summary = "SIGSTOP to a process in a pod, by title; undone by SIGCONT"
    step = ProcessHangStep

    async def plan(self, step: ProcessHangStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        undo_summary = f"SIGCONT to the same {step.process} (by pid and start time)"
        return await victims.plan(step, index, target, draw, signal="STOP", undo_summary=undo_summary)

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        if planned.options.get("via") == signal_helper.NAME:
            return await signal_helper.inject(planned, target, record)
        found = await victims.find(planned, target)
        for victim in found:
            if victim.stopped:
                raise RefusedError(
                    f"{victim.stopped[0].title} in {victim.pod.name} was already stopped before the fault",
                    hint="whoever stopped it lets it go on first; `drillbook recover` does so for an earlier run",
                )
        undo = tuple(_undo(victim) for victim in found)
        await record(undo)
        return Injected(await victims.strike(found, "STOP", target), undo=undo, seen={"victims": found})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        if planned.options.get("via") == signal_helper.NAME:
            return signal_helper.bite(planned, injected)

        async def look() -> Bite:
            running = [
                f"{ref.title} in {victim.pod.name} {f'is in state {process.state}' if process else 'has ended'}"
                for victim in injected.seen["victims"]
                for ref, process in (await victims.seen(victim, target)).items()
                if process is None or not process.stopped
            ]
            names = ", ".join(ref.name for ref in planned.targets)
            stopped = f"{planned.options['process']} is stopped (state T) in {names}"
            return Bite(not running, "; ".join(running) or stopped)

        return await proof.until(look, seconds)


def _undo(victim: Victim) -> SignalProcess:
    return SignalProcess(
        pod=victim.pod,
        container=victim.container,
        container_id=victim.container_id,
        processes=victim.processes,
        signal="CONT",
    )


FAULT: Fault = ProcessHang()
