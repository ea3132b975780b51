"""What became of each alert: those that were expected, those that came, and how late after the users' harm."""

from __future__ import annotations

import msgspec

from drillbook.model.judgement import Clocks
from drillbook.model.verdict import Finding
from drillbook.probes import alerts
from drillbook.probes.index import Indexed

Spans = tuple[tuple[float, float], ...]


class AlertFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One alert. Times are seconds after time zero."""

    name: str
    severity: str
    expected: str
    """What the experiment said of it; empty: nothing."""
    verdict: str
    """What became of that; empty where nothing was said."""
    pending: Spans
    """When its condition held and it still waited."""
    firing: Spans
    fired_at: float | None
    """When it first began to fire after the injection."""
    resolution: float
    """It fired within so many seconds before that."""
    after_effect: float | None
    """Seconds from the first harm of a user to that."""
    at_manager: float | None
    """When Alertmanager had it, where one was asked."""
    remark: str
    """Why it is not known, what silenced it, or that it fired before the fault already."""


def alert_facts(index: Indexed, clocks: Clocks, findings: tuple[Finding, ...]) -> tuple[AlertFacts, ...]:
    """Those expected first, then those that fired, in that order; last those that kept silent."""
    expected: dict[str, Finding] = {}
    for finding in findings:
        words = finding.expectation.split()
        if finding.role == "expect" and words[:1] == ["alert"] and len(words) > 1:
            expected.setdefault(words[1], finding)
    known = alerts.alerts(index)
    rows = [
        _row(index, known.get(name, alerts.Alert(name)), clocks, expected.get(name))
        for name in dict.fromkeys([*expected, *known])
    ]
    return tuple(sorted(rows, key=lambda row: (not row.expected, row.fired_at is None, row.fired_at or 0.0)))


def _row(index: Indexed, alert: alerts.Alert, clocks: Clocks, finding: Finding | None) -> AlertFacts:
    injected = index.injected
    fired = alert.fired(injected) if injected is not None else None
    at = None if fired is None else index.relative(fired)
    early = injected is not None and any(span.start < injected for span in alert.firing)
    effect = clocks.effect.at
    delivered = [moment for moment in alert.at_manager if injected is None or moment >= injected]
    return AlertFacts(
        name=alert.name,
        severity=alert.severity,
        expected=finding.expectation.removeprefix(f"alert {alert.name} ") if finding else "",
        verdict=finding.verdict.value if finding else "",
        pending=tuple((index.relative(span.start), index.relative(span.end)) for span in alert.pending),
        firing=tuple((index.relative(span.start), index.relative(span.end)) for span in alert.firing),
        fired_at=at,
        resolution=alert.resolution,
        after_effect=None if at is None or effect is None else at - effect,
        at_manager=index.relative(delivered[0]) if delivered else None,
        remark="fired before the fault already" if early else alert.suppressed or alert.why,
    )
