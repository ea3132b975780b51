"""load-surge: more users come. Arrivals change to another rate, up or down, and back; an autoscaler has to follow.

Nothing of the target is touched, so there is nothing to undo at it: the surge ends with its ``for``, or with the run.
"""

from __future__ import annotations

from typing import Literal

from drillbook import clock
from drillbook.faults import arrivals
from drillbook.faults.arrivals import traffic_of
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.model.experiment import Rate, Step
from drillbook.model.plan import PlannedFault
from drillbook.targets.target import Target


class LoadSurgeStep(Step):
    """Let requests arrive at another rate."""

    fault: Literal["load-surge"]
    rate: Rate
    """The rate of all arrivals meanwhile, in the place of the load's own."""


class LoadSurge:
    """See the module."""

    name = "load-surge"
    summary = "let requests arrive at another rate for a while; nothing of the target is touched"
    step = LoadSurgeStep

    async def plan(self, step: LoadSurgeStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        summary = f"let {step.rate:g} requests arrive a second"
        return await arrivals.plan(step, index, target, summary=summary, undo_summary="the load's own rate again")

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        traffic = traffic_of(target)
        await record(())
        now, rate = clock.monotonic(), float(str(planned.options["rate"]))
        traffic.pace(now, rate)
        if planned.hold is not None:
            traffic.pace(now + planned.hold, traffic.rate)
        return Injected(f"{rate:g}/s arrive instead of {traffic.rate:g}/s", seen={"at": now})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        traffic, wanted = traffic_of(target), float(str(planned.options["rate"]))

        def told(rate: float) -> Bite:
            near = abs(rate - wanted) < abs(rate - traffic.rate)
            return Bite(near, f"{rate:.3g} requests a second were sent, {wanted:g} were wanted")

        return await arrivals.until(
            traffic, told, since=injected.seen["at"], wanted=wanted, seconds=seconds, hold=planned.hold
        )


FAULT: Fault = LoadSurge()
