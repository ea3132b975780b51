"""link-cut: drop everything between the ranks of one engine, as a dead switch or a wrong policy does.

Nobody is told: the ranks wait in their collective, ``/health`` stays 200, and requests hang until vLLM gives up the
step after ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS`` (300 by default; measured on vLLM 0.32).
"""

from __future__ import annotations

from typing import Literal

from drillbook.faults.fault import Fault
from drillbook.faults.link_group import LinkStep
from drillbook.faults.links import LinkFault
from drillbook.helper.shaping import Setting


class LinkCutStep(LinkStep):
    """Drop what arrives over the links between the pods of one engine."""

    fault: Literal["link-cut"]


def schedule(step: LinkCutStep, seconds: float) -> list[tuple[float, Setting]]:
    """One setting for all of the time."""
    return [(0.0, Setting("cut"))]


FAULT: Fault = LinkFault(
    "link-cut", "drop everything on the links over which one engine's ranks talk", LinkCutStep, schedule
)
