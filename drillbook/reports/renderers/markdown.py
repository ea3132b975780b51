"""``report.md``: the same facts for a pull request, a wiki or a chat."""

from __future__ import annotations

from drillbook.reports.facts import Facts
from drillbook.reports.templates import render as fill

FILENAME = "report.md"


def render(facts: Facts) -> str:
    return fill("report.md.j2", facts=facts)
