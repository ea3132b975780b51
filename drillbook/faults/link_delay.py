"""link-delay: hold back each packet between the ranks of one engine. Needs ``netem`` in the node's kernel."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drillbook.faults.fault import Fault
from drillbook.faults.link_group import LinkStep
from drillbook.faults.links import LinkFault
from drillbook.helper.shaping import Setting
from drillbook.model.experiment import Duration


class LinkDelayStep(LinkStep):
    """Delay what is sent over the links between the pods of one engine; refused where the kernel cannot."""

    fault: Literal["link-delay"]
    delay: Duration = Field(gt=0.0, le=10.0)
    """Of each direction: a round trip takes twice as much longer."""
    jitter: Duration = 0.0


def schedule(step: LinkDelayStep, seconds: float) -> list[tuple[float, Setting]]:
    """One setting for all of the time."""
    return [(0.0, Setting("delay", delay=step.delay, jitter=step.jitter))]


FAULT: Fault = LinkFault(
    "link-delay", "delay what one engine's ranks send each other (needs netem on the node)", LinkDelayStep, schedule
)
