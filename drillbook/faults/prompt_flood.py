"""prompt-flood: somebody sends long prompts beside the users, whose short ones share the engines' batches with them.

Nothing of the target is touched, so there is nothing to undo at it: the flood ends with its ``for``, or with the run.
Each prompt begins differently, so that no prefix cache makes it cheap. Its requests are counted apart from the users'.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field

from drillbook import clock
from drillbook.faults import arrivals
from drillbook.faults.arrivals import LOOK_SECONDS, traffic_of
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.model.experiment import Duration, Rate, Step
from drillbook.model.plan import PlannedFault
from drillbook.targets.target import Target

ENOUGH = 3
"""Requests of the flood that must have ended before it is believed."""


class PromptFloodStep(Step):
    """Send a second load of long prompts."""

    fault: Literal["prompt-flood"]
    for_: Duration = 30.0
    rate: Rate
    """Of the flood alone; the load goes on beside it."""
    prompts: Literal["chat", "long", "short"] = "long"
    """The set whose texts they are made of."""
    times: int = Field(default=4, ge=1, le=1000)
    """How many texts of the set make one prompt. The set ``long`` has about 400 tokens a text."""
    output_tokens: int = Field(default=16, ge=1, le=100_000)


class PromptFlood:
    """See the module."""

    name = "prompt-flood"
    summary = "send long prompts beside the load, counted apart from it; nothing of the target is touched"
    step = PromptFloodStep

    async def plan(self, step: PromptFloodStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        words = f"{step.times} texts of the set {step.prompts!r} each, {step.output_tokens} tokens wanted"
        summary = f"send {step.rate:g} prompts a second beside the load ({words})"
        return await arrivals.plan(step, index, target, summary=summary, undo_summary="no more of them")

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        traffic, options = traffic_of(target), planned.options
        await record(())
        now, rate = clock.monotonic(), float(str(options["rate"]))
        traffic.flood(
            at=now,
            until=now + (planned.hold or 0.0),
            rate=rate,
            prompts=str(options["prompts"]),
            times=int(str(options["times"])),
            output_tokens=int(str(options["output_tokens"])),
        )
        return Injected(f"{rate:g}/s are sent beside the load's {traffic.rate:g}/s", seen={"at": now})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        """Seen by the requests of the flood that the target has answered, or not answered in time."""
        traffic, until = traffic_of(target), clock.monotonic() + seconds
        while (ended := traffic.flooded) < ENOUGH and clock.monotonic() < until:  # noqa: ASYNC110 - another's count
            await asyncio.sleep(LOOK_SECONDS)
        return Bite(ended >= ENOUGH, f"{ended} of its requests have come to their end")


FAULT: Fault = PromptFlood()
