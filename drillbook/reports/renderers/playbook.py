"""``playbook.md``: the failure mode's playbook with this run put into it; nothing where the experiment names none."""

from __future__ import annotations

from drillbook.playbooks.fill import filled
from drillbook.playbooks.load import find
from drillbook.reports.facts import Facts
from drillbook.reports.incident import incident
from drillbook.reports.templates import render as fill

FILENAME = "playbook.md"


def render(facts: Facts) -> str | None:
    if not facts.header.playbook:
        return None
    return fill("playbook.md.j2", playbook=filled(find(facts.header.playbook), incident(facts)))
