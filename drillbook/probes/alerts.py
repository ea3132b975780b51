"""Alerts of the target's Prometheus: when each fired, and whether that can be known at all.

An alert that fired before the fault already says nothing of it. Where its rule could not be evaluated, or nobody
looked, its silence is none.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from drillbook.model.events import AlertChanged, AlertState
from drillbook.model.expectation import ALERT
from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.capacity import Steps
from drillbook.probes.index import Indexed
from drillbook.probes.names import ALERTS
from drillbook.probes.reading import Kind, Reading, missing

GAP_SECONDS = 5.0
"""Rules are looked at every second; after this long without a look an alert may have come and gone unseen."""


@dataclass
class Alert:
    """One alert's life, monotonic seconds."""

    name: str
    severity: str = ""
    firing: list[Span] = field(default_factory=list)
    """In order; the last may end with the journal."""
    pending: list[Span] = field(default_factory=list)
    unknown: list[Span] = field(default_factory=list)
    why: str = ""
    """Why it was unknown."""
    resolution: float = 0.0
    """Seconds within which it first fired, before the moment told."""
    at_manager: list[float] = field(default_factory=list)
    """When Alertmanager had it, each time."""
    suppressed: str = ""
    """Why Alertmanager told nobody."""

    def fired(self, since: float) -> float | None:
        """The first moment at or after ``since`` at which it began to fire."""
        return next((span.start for span in self.firing if span.start >= since), None)


def alerts(index: Indexed) -> dict[str, Alert]:
    """Every alert whose rule was seen, by name."""
    return index.once("alerts", lambda: _alerts(index))


def watched(index: Indexed) -> bool:
    """Whether any alert rule was looked at: where none was, health signals are all there is."""
    return bool(alerts(index))


def first_fired(index: Indexed, since: float) -> tuple[Alert, float] | None:
    """The first alert that began to fire at or after ``since``, leaving out those that fired before it already."""
    found = [
        (alert, moment)
        for alert in alerts(index).values()
        if not _firing_at(alert, since) and (moment := alert.fired(since)) is not None
    ]
    return min(found, key=lambda pair: pair[1], default=None)


def shown(index: Indexed) -> dict[str, Alert]:
    """For drawing: those that stirred, each by itself; all that kept silent as one."""
    known = alerts(index)
    stirred = {
        f"alert {name}": alert for name, alert in known.items() if alert.firing or alert.pending or alert.unknown
    }
    silent = len(known) - len(stirred)
    others = f"{silent} {'other ' if stirred else ''}alert{'' if silent == 1 else 's'}"
    return stirred | ({others: Alert(others)} if silent else {})


def turns(index: Indexed, alert: Alert) -> list[tuple[float, bool | None]]:
    """When it began to be silent (True), to fire (False), or to be unknown (None)."""
    looks = [moment for moment, event in index.observed.get(ALERTS, ()) if event.value is not None]
    found: list[tuple[float, bool | None]] = [(looks[0], True)] if looks else []
    for spans, well in ((alert.firing, False), (alert.unknown, None)):
        for span in spans:
            found += [(span.start, well), (span.end, True)]
    return sorted(found, key=lambda turn: (turn[0], turn[1] is not True))


def unseen(index: Indexed, window: Span) -> str:
    """Why an alert may have fired unseen in the window; empty where it was looked at throughout."""
    looks = index.observed.get(ALERTS, [])
    if not looks:
        return "no Prometheus was asked for alerts"
    good = [moment for moment, event in looks if event.value is not None]
    if not good:
        return looks[-1][1].error or "Prometheus did not answer"
    marks = [window.start, *(moment for moment in good if moment in window), window.end]
    gap, since = max((late - early, early) for early, late in itertools.pairwise(marks))
    if gap <= GAP_SECONDS:
        return ""
    failed = [event.error for moment, event in looks if since <= moment <= since + gap and event.value is None]
    return f"the rules were not seen for {gap:.1f}s" + (f": {failed[0]}" if failed else "")


def _alerts(index: Indexed) -> dict[str, Alert]:
    _, told, namespace = (index.started.target if index.started else "").rpartition("/")
    found: dict[str, Alert] = {}
    states: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[AlertState, float]] = {}
    for line, event in index.events(AlertChanged):
        if told and event.labels.get("namespace", namespace) != namespace:
            continue  # another deployment's
        alert = found.setdefault(event.name, Alert(event.name))
        alert.severity = event.labels.get("severity") or alert.severity
        if event.source == "alertmanager":
            alert.at_manager += [line.mono] if event.state is AlertState.FIRING else []
            alert.suppressed = event.detail or alert.suppressed
            continue
        key = (event.name, tuple(sorted(event.labels.items())))
        _close(alert, states.get(key), line.mono)
        states[key] = event.state, line.mono
        if event.state is AlertState.UNKNOWN:
            alert.why = event.detail
        elif event.state is AlertState.FIRING and not alert.resolution:
            alert.resolution = event.took
    for (name, _), state in states.items():
        _close(found[name], state, index.end)
    for alert in found.values():
        alert.firing, alert.pending = _merged(alert.firing), _merged(alert.pending)
    return found


def _close(alert: Alert, state: tuple[AlertState, float] | None, end: float) -> None:
    if state is None:
        return
    kept = {
        AlertState.FIRING: alert.firing,
        AlertState.PENDING: alert.pending,
        AlertState.UNKNOWN: alert.unknown,
    }.get(state[0])
    if kept is not None:
        kept.append(Span(state[1], end))


def _merged(spans: list[Span]) -> list[Span]:
    """Several alerts of one rule are one: it fires as long as any of them does."""
    found: list[Span] = []
    for span in sorted(spans, key=lambda span: span.start):
        if found and span.start <= found[-1].end:
            found[-1] = Span(found[-1].start, max(found[-1].end, span.end))
        else:
            found.append(span)
    return found


def _firing_at(alert: Alert, moment: float) -> bool:
    return any(span.start < moment <= span.end for span in alert.firing)


def _fired_before(alert: Alert | None, injected: float) -> bool:
    return alert is not None and any(span.start < injected for span in alert.firing)


def _doubt(index: Indexed, name: str, window: Span) -> str:
    """Why nothing can be said of an alert in a window."""
    alert = alerts(index).get(name)
    if alert is None:
        return unseen(index, window) or "Prometheus has no such rule"
    if index.injected is not None and _fired_before(alert, index.injected):
        return "it was firing before the fault already"
    blind = next((span for span in alert.unknown if span.start < window.end and span.end > window.start), None)
    return f"its rule could not be evaluated: {alert.why}" if blind else unseen(index, window)


@dataclass(frozen=True)
class Fires:
    """That an alert begins to fire: an event."""

    name: str
    help: str = "an alert of the target's Prometheus fires"
    dimension: Dimension | None = None
    kind: Kind = Kind.EVENT
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index, name = Indexed.of(history), self.name.removeprefix(ALERT)
        if index.injected is None:
            return missing("no fault was injected")
        alert = alerts(index).get(name)
        doubt = _doubt(index, name, Span(max(window.start, index.injected), window.end))
        moment = alert.fired(index.injected) if alert else None
        if alert is not None and moment is not None and not _fired_before(alert, index.injected):
            late = alert.resolution > GAP_SECONDS
            reason = f"or up to {alert.resolution:.1f}s before, when the rules were not seen" if late else ""
            return Reading(moment, samples=1, complete=not late, reason=reason)
        if doubt:
            return missing(doubt)
        pending = bool(alert and alert.pending and alert.pending[-1].end >= window.end)
        return Reading(None, reason="it was pending, and its rule still waited" if pending else "it stayed silent")


@dataclass(frozen=True)
class Firing:
    """1 while an alert fires, else 0."""

    name: str
    help: str = "whether an alert of the target's Prometheus fires"
    dimension: Dimension = Dimension.COUNT
    kind: Kind = Kind.LEVEL
    min_samples: int = 1

    def changes(self, history: History, window: Span) -> list[float]:
        return self._steps(Indexed.of(history)).changes(window)

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if doubt := _doubt(index, self.name.removeprefix(ALERT), window):
            return missing(doubt)
        values = self._steps(index).within(window) or [0.0]
        return Reading(values[-1], samples=len(values), low=min(values), high=max(values))

    def _steps(self, index: Indexed) -> Steps:
        steps, alert = Steps(), alerts(index).get(self.name.removeprefix(ALERT))
        steps.set(float("-inf"), 0.0)
        for span in alert.firing if alert else ():
            steps.set(span.start, 1.0)
            steps.set(span.end, 0.0)
        return steps
