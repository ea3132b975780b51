"""Readings that were taken live: custom probes, and the polls of health endpoints."""

from __future__ import annotations

import itertools
import statistics
from dataclasses import dataclass

from drillbook.model.events import Observed
from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading, missing

STALE = 3.0
"""A series is broken where this many of its usual intervals passed without a reading."""


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
        return [moment for moment, _ in Indexed.of(history).observed.get(self.name, ()) if moment in window]

    def read(self, history: History, window: Span) -> Reading:
        series = Indexed.of(history).observed.get(self.name, [])
        if not series:
            return missing("it gave no readings at all")
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
