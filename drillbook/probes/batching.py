"""Continuous batching under pressure, as the engines tell it: how full the KV cache was, and who had to begin anew."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.capacity import Steps
from drillbook.probes.index import Indexed
from drillbook.probes.names import CACHE_USE, PREEMPTIONS
from drillbook.probes.reading import Kind, Probe, Reading, missing

GAP = 4.0
"""Seconds without a reading, of one a second, after which an engine's figures are not known."""


def told(index: Indexed, series: str) -> dict[str, list[tuple[float, float]]]:
    """What each engine told of a series, by its name: moment and value."""

    def read() -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {}
        for moment, event in index.observed.get(series, ()):
            if event.value is not None:
                found.setdefault(event.labels.get("replica", ""), []).append((moment, event.value))
        return found

    return index.once(f"told of {series}", read)


def untold(index: Indexed, series: str, window: Span) -> str:
    """Why the series is not known all along the window; empty where it is."""
    rows = told(index, series)
    if not rows:
        return f"no engine told {series}"
    moments = sorted(moment for each in rows.values() for moment, _ in each if moment in window)
    for early, late in itertools.pairwise([window.start, *moments, window.end]):
        if late - early > GAP:
            return f"no engine told {series} for {late - early:.1f}s"
    for name, each in rows.items():
        for (early, _), (late, _) in itertools.pairwise(each):
            if late - early > GAP and early < window.end and late > window.start:
                return f"{name} did not tell {series} for {late - early:.1f}s"
    return ""


@dataclass(frozen=True)
class Preemptions:
    """Growth of the engines' own counters. One that began anew counts from nothing."""

    name: str = "preemptions"
    help: str = "requests that engines threw out of the KV cache and computed anew"
    dimension: Dimension = Dimension.COUNT
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        grown: dict[str, float] = {}
        for name, rows in told(index, PREEMPTIONS).items():
            for (_, had), (moment, has) in itertools.pairwise(rows):
                if moment in window and has != had:
                    grown[name] = grown.get(name, 0.0) + (has - had if has > had else has)
        why, count = untold(index, PREEMPTIONS, window), sum(grown.values())
        evidence = tuple(f"{name}: {number:g}" for name, number in grown.items() if number)
        if why and not count:
            return missing(why)
        return Reading(count, samples=1, complete=not why, reason=why, at_least=bool(why), evidence=evidence)


@dataclass(frozen=True)
class CacheUsage:
    """The fullest engine's share at each look; looks are a second apart, and what came between them is not seen."""

    name: str = "kv-cache-usage"
    help: str = "share of the KV cache in use, of the fullest engine"
    dimension: Dimension = Dimension.SHARE
    kind: Kind = Kind.LEVEL
    min_samples: int = 1

    def changes(self, history: History, window: Span) -> list[float]:
        return levels(Indexed.of(history)).changes(window)

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        values, why = levels(index).within(window), untold(index, CACHE_USE, window)
        if not values or not told(index, CACHE_USE):
            return missing(why or "no engine told how full its KV cache was")
        return Reading(values[-1], samples=len(values), complete=not why, reason=why, low=min(values), high=max(values))


def levels(index: Indexed) -> Steps:
    """How full the fullest engine's KV cache was. An engine that tells no more counts no more."""

    def read() -> Steps:
        rows = sorted((at, name, value) for name, each in told(index, CACHE_USE).items() for at, value in each)
        steps, latest = Steps(), dict[str, tuple[float, float]]()
        for at, name, value in rows:
            latest[name] = at, value
            latest = {each: row for each, row in latest.items() if at - row[0] <= GAP}
            steps.set(at, max(value for _, value in latest.values()))
        return steps

    return index.once("KV cache usage", read)


PROBES: tuple[Probe, ...] = (Preemptions(), CacheUsage())
SERIES: dict[str, tuple[str, ...]] = {probe.name: (PREEMPTIONS, CACHE_USE) for probe in PROBES}
"""What of the engines' own account each probe needs; one tells little without the other, which the report shows."""
