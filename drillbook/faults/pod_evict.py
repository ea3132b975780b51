"""pod-evict: ask the Eviction API to end pods, as drains, autoscalers and upgrades do.

A PodDisruptionBudget that says no (429) has done its work: that is found and told, and the pod stays.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from drillbook.faults import evictions
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, unrestored
from drillbook.faults.selection import select
from drillbook.model.experiment import Duration, PodStep
from drillbook.model.plan import PlannedFault
from drillbook.targets import paths
from drillbook.targets.target import Target


class PodEvictStep(PodStep):
    """Evict pods, each with its own grace period."""

    held: ClassVar[bool] = False
    fault: Literal["pod-evict"]
    patience: Duration = 0.0
    """How long to ask again, every 5 s, where a disruption budget refuses; once without it."""


class PodEvict:
    """See the module."""

    name = "pod-evict"
    summary = "evict pods through the Eviction API, which asks the disruption budgets"
    step = PodEvictStep

    async def plan(self, step: PodEvictStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods, radius = await select(step, index, target, draw)
        refs = tuple(map(paths.pod_ref, pods))
        return unrestored(
            step,
            index,
            summary=f"evict {len(refs)} of {radius.role_total} {step.role} pods, where their budgets allow",
            targets=refs,
            calls=evictions.calls(refs),
            mended_by="the pods' controller replaces them",
            radius=radius,
            permissions=evictions.permissions(target),
            options={"patience": step.patience, "grace": longest_grace(pods)},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        await record(())
        patience: Any = planned.options["patience"]
        outcome = await evictions.ask(planned.targets, target, patience)
        return Injected(str(outcome), seen={"outcome": outcome})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        grace: Any = planned.options["grace"]
        return await evictions.ended(injected.seen["outcome"], target, seconds + grace)


def longest_grace(pods: list[dict[str, Any]]) -> float:
    """Seconds that the slowest of the pods may take to end."""
    return max((float(pod["spec"].get("terminationGracePeriodSeconds", 30)) for pod in pods), default=0.0)


FAULT: Fault = PodEvict()
