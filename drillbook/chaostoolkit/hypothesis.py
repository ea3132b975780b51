"""The steady-state hypothesis: asked before, during and after the method. Every probe is asked, not just the first."""

from __future__ import annotations

import asyncio

from drillbook import clock
from drillbook.chaostoolkit.load import Json
from drillbook.chaostoolkit.performer import Performer
from drillbook.chaostoolkit.tolerance import within

FREQUENCY = 1.0
"""Seconds between the beginnings of two samples, where the experiment does not say."""


async def ask(performer: Performer) -> Json | None:
    """Ask all probes once; None where there is no hypothesis.

    Raises:
        InterruptedByControl: a control ends the run.

    """
    hypothesis = performer.data.get("steady-state-hypothesis")
    if not hypothesis or not hypothesis.get("probes"):
        return None
    state: Json = {"steady_state_met": None, "probes": []}
    async with performer.controls.around("hypothesis", hypothesis, performer.variables) as told:
        told.append(state)
        for probe in hypothesis["probes"]:
            record = await performer.perform(probe, state["probes"])
            await judge(performer, {**performer.resolve(probe), **probe}, record)
        state["steady_state_met"] = all(record["tolerance_met"] for record in state["probes"])
    return state


async def judge(performer: Performer, probe: Json, record: Json) -> None:
    """Write into the record whether the probe's value is within its tolerance, and why."""
    if record.get("dry"):
        record |= {"tolerance_met": True, "reason": "not asked: a dry run", "measured": False}
    elif record["status"] != "succeeded":
        reason = record["exception"][0].strip().partition(": ")[2]
        record |= {"tolerance_met": False, "reason": reason, "measured": bool(record.get("unanswered"))}
    else:
        found = await within(probe["tolerance"], record["output"], performer.variables, performer.act)
        record |= {"tolerance_met": found.met, "reason": found.why, "measured": found.measured}


async def ask_continuously(
    performer: Performer, samples: list[Json], frequency: float, stop_at_first: asyncio.Event | None
) -> None:
    """Sample until cancelled, at a fixed rhythm. ``stop_at_first`` is set by the first sample that does not hold."""
    while True:
        began = clock.monotonic()
        state = await ask(performer)
        if state is None:
            return
        samples.append(state)
        performer.journal.save()
        await performer.controls.tell("continuous_hypothesis_iteration", len(samples), state)
        if stop_at_first is not None and not state["steady_state_met"]:
            stop_at_first.set()
            return
        await asyncio.sleep(max(0.0, began + frequency - clock.monotonic()))
