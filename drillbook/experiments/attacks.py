"""May what was measured of the guardrails be believed? Asked only where an expectation asks of them; what ails the
attacker makes those expectations inconclusive, and no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from drillbook.experiments.sentences import seconds
from drillbook.experiments.validity import TICK_GAP, WORST_LAG, check
from drillbook.load import slis
from drillbook.model.attack import AttackRecord
from drillbook.model.events import Noted, Phase
from drillbook.model.expectation import Expectation
from drillbook.model.experiment import Experiment
from drillbook.model.history import Span
from drillbook.model.verdict import Finding
from drillbook.probes import guardrail
from drillbook.probes.index import Indexed
from drillbook.probes.names import DIED

SILENCE = 12.0
"""How many times the mean distance of two prompts a silence may last: with random arrivals, one in 160,000 does."""


def asks(wanted: Expectation) -> bool:
    """Whether an expectation is about guardrails."""
    return wanted.probe.startswith(guardrail.PREFIX)


def measurement(index: Indexed, experiment: Experiment) -> list[Finding]:
    """Whether the attackers did their work throughout."""
    every = (*experiment.steady_state, *experiment.expect, *experiment.abort_when)
    return list(_findings(index, experiment)) if any(map(asks, every)) else []


def _findings(index: Indexed, experiment: Experiment) -> Iterator[Finding]:
    start = index.spans.get(Phase.BASELINE)
    window = Span(start.start if start else index.origin, index.watched_until)
    sent = [record for record in index.attacks_in_order if record.scheduled in window]
    yield check("attacks were sent", "" if sent else "no attack was sent", f"{len(sent)} attacks were sent")
    if not sent:
        return
    lags = sorted(max(0.0, record.sent - record.scheduled) for record in sent)
    limit, p99 = experiment.load.max_lag, slis.quantile(lags, 0.99) or 0.0
    figure = f"{seconds(p99)} at the 99th percentile, {seconds(limit)} allowed"
    why = ""
    if p99 > limit:
        why = f"the attacker lagged: {figure}"
    elif lags[-1] > WORST_LAG * limit:
        why = f"the attacker stood still: a prompt was sent {seconds(lags[-1])} late"
    yield check("the attacker kept its schedule", why, f"lag {figure}")
    why = _died(index) or _silence(index, sent, window)
    yield check("the attacker was alive throughout", why, "its prompts came without a gap")


def _died(index: Indexed) -> str:
    notes = [(line.mono, note.text) for line, note in index.events(Noted) if note.text.startswith(DIED)]
    return f"{notes[0][1]} (at {index.relative(notes[0][0]):.1f}s)" if notes else ""


def _silence(index: Indexed, sent: list[AttackRecord], window: Span) -> str:
    writers = {record.id.rpartition("-")[0] for record in sent}
    for writer in sorted(writers):
        times = sorted(record.scheduled for record in sent if record.id.rpartition("-")[0] == writer)
        longest = max(TICK_GAP, SILENCE * window.length / len(times))
        for early, late in itertools.pairwise([window.start, *times, window.end]):
            if late - early > longest:
                return f"{writer} sent nothing for {late - early:.1f}s from {index.relative(early):.1f}s on"
    return ""
