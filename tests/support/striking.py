"""Planning, injecting, proving and undoing one fault, as a run does, for tests of single faults."""

from __future__ import annotations

from typing import Any

from drillbook.faults.fault import Bite, Draw
from drillbook.faults.registry import FAULTS
from drillbook.model.plan import PlannedFault
from drillbook.targets.target import Target
from drillbook.undo.operations import Outcome, carry_out


async def planned(target: Target, fault: str, **options: Any) -> PlannedFault:
    step = FAULTS[fault].step.model_validate({"fault": fault, **options})
    return await FAULTS[fault].plan(step, 0, target, Draw(1))


class Struck:
    """What was recorded, and the undo of it."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.operations: list[Any] = []
        self.detail = ""

    async def record(self, operations: tuple[Any, ...]) -> None:
        self.operations += operations

    async def inject(self, plan: PlannedFault) -> Any:
        injected = await FAULTS[plan.fault].inject(plan, self.target, self.record)
        self.detail = injected.detail
        return injected

    async def prove(self, plan: PlannedFault, injected: Any, seconds: float = 15) -> Bite:
        return await FAULTS[plan.fault].verify(plan, injected, self.target, seconds)

    async def undo(self) -> list[Outcome]:
        return [await carry_out(self.target.kube, each, seconds=10) for each in reversed(self.operations)]
