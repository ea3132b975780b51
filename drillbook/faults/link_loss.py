"""link-loss: lose a share of the packets between the ranks of one engine, each by chance.

TCP sends them again, so no byte is lost: what is lost is time. Done by nftables (``numgen random``), which needs no
``netem`` in the node's kernel.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drillbook.faults.fault import Fault
from drillbook.faults.link_group import LinkStep
from drillbook.faults.links import LinkFault
from drillbook.helper.shaping import Setting
from drillbook.model.experiment import Share


class LinkLossStep(LinkStep):
    """Lose this share of what arrives over the links between the pods of one engine."""

    fault: Literal["link-loss"]
    share: Share = Field(gt=0.0, lt=1.0)


def schedule(step: LinkLossStep, seconds: float) -> list[tuple[float, Setting]]:
    """One setting for all of the time."""
    return [(0.0, Setting("loss", share=step.share))]


FAULT: Fault = LinkFault(
    "link-loss", "lose a share of the packets on the links over which one engine's ranks talk", LinkLossStep, schedule
)
