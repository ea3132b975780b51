"""link-flap: cut the links between the ranks of one engine and restore them, again and again."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drillbook.faults.fault import Fault
from drillbook.faults.link_group import LinkStep
from drillbook.faults.links import LinkFault
from drillbook.helper.shaping import Setting
from drillbook.model.experiment import Duration

MOST_STEPS = 200
"""More changes than this are not written into one helper; the last state then stays."""


class LinkFlapStep(LinkStep):
    """Cut for ``down``, restore for ``up``, and so on until the undo."""

    fault: Literal["link-flap"]
    down: Duration = Field(default=3.0, ge=0.5)
    up: Duration = Field(default=7.0, ge=0.5)


def schedule(step: LinkFlapStep, seconds: float) -> list[tuple[float, Setting]]:
    """Cut and restored in turn; it ends restored."""
    found: list[tuple[float, Setting]] = []
    begin = 0.0
    while begin < seconds and len(found) < MOST_STEPS:
        found += [(begin, Setting("cut")), (begin + step.down, Setting("clear"))]
        begin += step.down + step.up
    return found


FAULT: Fault = LinkFault(
    "link-flap",
    "cut and restore, in turn, the links over which one engine's ranks talk",
    LinkFlapStep,
    schedule,
)
