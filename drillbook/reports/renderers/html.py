"""``report.html``: one self-contained page, without scripts, for people who decide."""

from __future__ import annotations

from drillbook.reports.charts.dose import dose
from drillbook.reports.charts.guardrail import intervals
from drillbook.reports.charts.story import story
from drillbook.reports.charts.waterfall import waterfall
from drillbook.reports.facts import Facts
from drillbook.reports.templates import render as fill

FILENAME = "report.html"


def render(facts: Facts) -> str:
    rates = intervals(facts.guardrails) if facts.guardrails is not None else ""
    doses = {link.id: dose(link) for link in facts.links}
    lag = waterfall(facts.scaling.legs, "The legs of the autoscaler's lag", "lag") if facts.scaling else ""
    return fill(
        "report.html.j2",
        facts=facts,
        story=story(facts),
        legs=waterfall(facts.clocks.recovery),
        lag=lag,
        rates=rates,
        doses=doses,
    )
