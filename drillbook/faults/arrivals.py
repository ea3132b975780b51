"""How fast the run's own generator sends: for faults that change it, and touch nothing of the target."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from drillbook import clock
from drillbook.errors import UnsupportedError
from drillbook.faults.fault import Bite
from drillbook.model.experiment import Step
from drillbook.model.plan import BlastRadius, PlannedFault
from drillbook.targets.target import Target
from drillbook.targets.traffic import Traffic

LOOK_SECONDS = 0.2
ENOUGH = 20
"""Arrivals over which the rate is measured before it is believed: a Poisson count of 20 is seldom below 10."""


def traffic_of(target: Target) -> Traffic:
    """The load of the run.

    :raises UnsupportedError: there is none of ours.
    """
    if target.traffic is None:
        raise UnsupportedError("there is no load of drillbook whose rate could change", hint="use `drillbook run`")
    return target.traffic


async def plan(step: Step, index: int, target: Target, *, summary: str, undo_summary: str) -> PlannedFault:
    """The plan of a step that touches nothing of the target. Its options are the keys that the step has of its own."""
    own = [name for name in type(step).model_fields if name not in Step.model_fields]
    return PlannedFault(
        id=f"{index}-{step.fault}",
        fault=step.fault,
        at=step.at,
        hold=step.for_,
        summary=summary,
        targets=(),
        calls=(),
        undo=(),
        undo_summary=f"{undo_summary}; nothing of the target was touched",
        radius=BlastRadius(pods=0, gpus=0, role_total=len(await target.pods("engine")), capacity_left=1.0),
        options={name: getattr(step, name) for name in own},
    )


async def until(
    traffic: Traffic, told: Callable[[float], Bite], *, since: float, wanted: float, seconds: float, hold: float | None
) -> Bite:
    """Measure what is sent from ``since`` (monotonic seconds) on, until the rate bit as ``told``, or time is up.

    ``wanted``: the rate to come, by which enough arrivals are waited for.
    """
    least = min(ENOUGH, wanted * seconds / 3)
    end = clock.monotonic() + min(seconds, hold or seconds)
    first: tuple[float, int] | None = None
    bite = Bite(False, "the load generator told nothing")
    while clock.monotonic() < end:
        at, sent = traffic.sent
        if first is None and at > since:
            first = (at, sent)
        if first is not None and at > first[0]:
            bite = told((sent - first[1]) / (at - first[0]))
            if bite.bit and (at - first[0]) * wanted >= least:
                return bite
        await asyncio.sleep(LOOK_SECONDS)
    return Bite(False, bite.detail)
