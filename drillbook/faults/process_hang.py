"""process-hang: SIGSTOP to a process inside a pod, by title. It keeps its memory, sockets and locks, and does nothing.

This is what a hung GPU kernel or collective looks like from outside: ``/health`` of a vLLM server stays 200 for as long
as was watched, and requests hang (measured on vLLM 0.32). The undo is SIGCONT to the very same processes.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from drillbook import clock
from drillbook.errors import DrillbookError, RefusedError
from drillbook.faults import victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike
from drillbook.faults.victims import ProcessStep, Victim
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import SignalProcess
from drillbook.targets import processes
from drillbook.targets.target import Target

LOOK_SECONDS = 0.1


class ProcessHangStep(ProcessStep):
    """Stop the processes with this title in each chosen pod, and let them go on at the undo."""

    fault: Literal["process-hang"]


class ProcessHang:
    """See the module."""

    name = "process-hang"
    summary = "SIGSTOP to a process in a pod, by title; undone by SIGCONT"
    step = ProcessHangStep

    async def plan(self, step: ProcessHangStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        chosen = await victims.choose(step, index, target, draw, "STOP")
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"SIGSTOP to {step.process} in {len(chosen.refs)} of {chosen.radius.role_total} {step.role} pods",
            targets=chosen.refs,
            calls=chosen.calls,
            undo=(),
            undo_summary=f"SIGCONT to the same {step.process} (by pid and start time)",
            radius=chosen.radius,
            permissions=chosen.permissions,
            container=chosen.container,
            options={"process": step.process},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        found = await victims.find(planned.targets, planned.container, str(planned.options["process"]), target)
        for victim in found:
            if victim.stopped:
                raise RefusedError(
                    f"{victim.stopped[0].title} in {victim.pod.name} was already stopped before the fault",
                    hint="whoever stopped it lets it go on first; `drillbook recover` does so for an earlier run",
                )
        undo = tuple(_undo(victim) for victim in found)
        await record(undo)
        doubt = await strike(_stop(victim, target) for victim in found)
        count = sum(len(victim.processes) for victim in found)
        return Injected(f"SIGSTOP sent to {count} process(es){doubt}", undo=undo, seen={"victims": found})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        until = clock.monotonic() + seconds
        while True:
            try:
                running = [
                    f"{ref.title} in {victim.pod.name} {f'is in state {process.state}' if process else 'has ended'}"
                    for victim in injected.seen["victims"]
                    for ref, process in (await victims.seen(victim, target)).items()
                    if process is None or not process.stopped
                ]
            except DrillbookError as error:
                running = [str(error)]
            if not running:
                names = ", ".join(ref.name for ref in planned.targets)
                return Bite(True, f"{planned.options['process']} is stopped (state T) in {names}")
            if clock.monotonic() > until:
                return Bite(False, "; ".join(running))
            await asyncio.sleep(LOOK_SECONDS)


def _undo(victim: Victim) -> SignalProcess:
    return SignalProcess(
        pod=victim.pod,
        container=victim.container,
        container_id=victim.container_id,
        processes=victim.processes,
        signal="CONT",
    )


async def _stop(victim: Victim, target: Target) -> None:
    await processes.signal(target.kube, victim.pod, victim.container, victim.processes, "STOP")


FAULT: Fault = ProcessHang()
