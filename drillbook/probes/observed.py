"""Readings that were taken live: custom probes, queries of Prometheus, and the polls of health endpoints."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass, replace

from drillbook.model.events import Observed, Phase, SeriesRead
from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading, missing

STALE = 3.0
"""A series is broken where this many of its usual intervals passed without a reading."""


OLDEST = (5.0, 90.0)
"""Seconds of age from which a sample of Prometheus is stale: three times the oldest of the baseline, within these
bounds. Scrapes every 15 s to 30 s are usual; by itself Prometheus hands on what is five minutes old."""


def readings(index: Indexed, name: str) -> list[tuple[float, Observed]]:
    """All readings of a probe. Of a query what was read over the whole run at its end, where that was possible: it has
    no gaps of our own making.
    """
    return index.once(f"readings of {name}", lambda: _readings(index, name))


def _readings(index: Indexed, name: str) -> list[tuple[float, Observed]]:
    found = index.observed.get(name, [])
    whole = next((event for _, event in index.events(SeriesRead) if event.probe == name), None)
    if whole is not None and not whole.error and any(value is not None for value in whole.values):
        ages = whole.ages or (None,) * len(whole.values)
        found = [
            (whole.start + place * whole.step, _reading(name, whole.promql, value, age))
            for place, (value, age) in enumerate(zip(whole.values, ages, strict=True))
        ]
    baseline = index.spans.get(Phase.BASELINE)
    usual = [_age(event) for moment, event in found if baseline is not None and moment in baseline]
    limit = min(max(OLDEST[0], 3 * max(usual, default=OLDEST[1])), OLDEST[1])
    return [(moment, _stale(event) if _age(event) > limit else event) for moment, event in found]


def _reading(name: str, promql: str, value: float | None, age: float | None) -> Observed:
    labels = {"promql": promql} | ({} if age is None else {"age": f"{age:.1f}"})
    return Observed(probe=name, value=value, labels=labels, error="" if value is not None else "no data")


def _age(event: Observed) -> float:
    return float(event.labels.get("age") or 0.0)


def _stale(event: Observed) -> Observed:
    return Observed(probe=event.probe, value=None, labels=event.labels, error=f"the data is {_age(event):.0f}s old")


@dataclass(frozen=True)
class LiveProbe:
    """A custom probe, by the readings that were written down as the run went.

    Each reading holds until the next. A reading that failed, a gap of three intervals, or a series that began late or
    ended early makes the window incomplete.
    """

    name: str
    dimension: Dimension
    help: str = "a custom probe"
    kind: Kind = Kind.LEVEL
    min_samples: int = 1

    def changes(self, history: History, window: Span) -> list[float]:
        return [moment for moment, _ in readings(Indexed.of(history), self.name) if moment in window]

    def read(self, history: History, window: Span) -> Reading:
        series = readings(Indexed.of(history), self.name)
        if not series:
            return missing("it gave no readings at all")
        promql = series[-1][1].labels.get("promql", "").removeprefix("-")
        reading = self._read(series, window)
        return (
            replace(reading, reason=f"{reason}, to the query {promql}")
            if promql and (reason := reading.reason)
            else reading
        )

    def _read(self, series: list[tuple[float, Observed]], window: Span) -> Reading:
        before = [item for item in series if item[0] <= window.start][-1:]
        found = before + [item for item in series if window.start < item[0] < window.end]
        values = [event.value for _, event in found if event.value is not None]
        failed = [event for _, event in found if event.value is None]
        if not values:
            return missing(failed[-1].error or "it gave nothing" if failed else "it gave no reading then")
        reason = ""
        if failed:
            reason = f"{len(failed)} of {len(found)} readings failed: {failed[0].error or 'it gave nothing'}"
        elif gap := _gap([moment for moment, _ in series], window):
            reason = f"it gave nothing for {gap:.1f}s"
        return Reading(
            values[-1],
            samples=len(values),
            complete=not reason,
            reason=reason,
            low=min(values),
            high=max(values),
            failed=found[-1][1].value is None,
        )


def _gap(times: list[float], window: Span) -> float | None:
    """The longest silence in the window, where it is longer than the series' own rhythm allows."""
    usual = statistics.median(late - early for early, late in itertools.pairwise(times)) if times[1:] else 1.0
    points = [time for time in times if time < window.end]
    earlier = [time for time in points if time <= window.start][-1:]
    marks = [*(earlier or [window.start]), *(time for time in points if time > window.start), window.end]
    longest = max((late - early for early, late in itertools.pairwise(marks)), default=0.0)
    return longest if longest > STALE * max(usual, 0.05) else None


def is_endpoint(event: Observed) -> bool:
    """A poll of the endpoint that users talk to; the others are of single replicas."""
    return "endpoint" in event.labels


@dataclass(frozen=True)
class Health:
    """The share of health polls that were answered with 200."""

    name: str
    help: str
    endpoint: bool
    dimension: Dimension = Dimension.SHARE
    kind: Kind = Kind.WINDOW
    min_samples: int = 3

    def read(self, history: History, window: Span) -> Reading:
        polls = [
            event.value or 0.0
            for moment, event in Indexed.of(history).observed.get("health", ())
            if moment in window and is_endpoint(event) is self.endpoint
        ]
        if not polls:
            return missing("its health was not polled then")
        reason = f"only {len(polls)} polls" if len(polls) < self.min_samples else ""
        return Reading(sum(polls) / len(polls), samples=len(polls), complete=not reason, reason=reason)


PROBES: tuple[Probe, ...] = (
    Health("endpoint-health", "share of polls of the endpoint's /health that got a 200", endpoint=True),
    Health("engine-health", "share of polls of the engines' /health that got a 200", endpoint=False),
)
