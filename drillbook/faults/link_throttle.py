"""link-throttle: hold what the ranks of one engine send each other to a rate, or to one rate after another.

A rate is per link and direction. ``rates`` with ``every`` makes a ramp: a dose, whose response the report draws.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from drillbook.faults.bitrate import BitRate
from drillbook.faults.fault import Fault
from drillbook.faults.link_group import LinkStep
from drillbook.faults.links import LinkFault
from drillbook.helper.shaping import Setting
from drillbook.model.experiment import Duration

LEAST = 8000.0
"""Bits a second: less is a cut."""


class LinkThrottleStep(LinkStep):
    """Throttle the links between the pods of one engine; HTTP on the same interface is left alone."""

    fault: Literal["link-throttle"]
    rate: BitRate | None = Field(default=None, ge=LEAST)
    rates: tuple[BitRate, ...] = ()
    """One after another, instead of one rate."""
    every: Duration = Field(default=15.0, ge=2.0)
    """How long each of ``rates`` is held; the last one until the undo."""

    @model_validator(mode="after")
    def _says_how_fast(self) -> Self:
        if (self.rate is None) == (not self.rates):
            raise ValueError("a throttle has either a rate, or rates that follow one another")
        if any(rate < LEAST for rate in self.rates):
            raise ValueError("a link of less than 8kbit is cut: use link-cut")
        if self.for_ is not None and len(self.rates) * self.every > self.for_ + 1e-9:
            raise ValueError(f"{len(self.rates)} rates of {self.every:g}s each do not fit into {self.for_:g}s ('for')")
        return self


def schedule(step: LinkThrottleStep, seconds: float) -> list[tuple[float, Setting]]:
    """The settings, and when each begins."""
    rates = step.rates or (step.rate,)
    return [(place * step.every, Setting("throttle", rate=rate)) for place, rate in enumerate(rates) if rate]


FAULT: Fault = LinkFault(
    "link-throttle",
    "throttle the links over which one engine's ranks talk, at a rate or through several; HTTP is left alone",
    LinkThrottleStep,
    schedule,
)
