"""Which windows of a history one expectation is asked of, and what each of them answers.

*Sliding windows* are 5 s long and begin every second. Where that is too short for the probe's samples at the run's
rate of requests, they are made long enough for three times the samples needed (``ttft.p99`` at 6/s: 50 s); ``for`` sets
the length of ``always``. Levels (ready engines) are not slid over but asked of every stretch between two changes, and
sums (tokens lost) of windows that grow from the start.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

from drillbook.model.expectation import Expectation, Operator, Quantifier
from drillbook.model.history import Span
from drillbook.probes.guardrail import Share
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading, Stepped

LENGTH = 5.0
"""Seconds of a sliding window."""
STEP = 1.0
"""Seconds between the beginnings of two windows."""
AMPLE = 3.0
"""How many times the samples needed a window is expected to hold."""


@dataclass(frozen=True)
class Answer:
    """What one window says; ``holds`` is None where it cannot say."""

    window: Span
    reading: Reading
    holds: bool | None


def answers(index: Indexed, probe: Probe, wanted: Expectation, span: Span) -> list[Answer]:
    """Every window of the span, asked."""
    return [ask(index, probe, wanted, window) for window in _windows(index, probe, wanted, span)]


def ask(index: Indexed, probe: Probe, wanted: Expectation, window: Span) -> Answer:
    reading = probe.read(index, window)
    return Answer(window, reading, holds(reading, wanted))


def holds(reading: Reading, wanted: Expectation) -> bool | None:
    """Whether a reading is as wanted; None where it does not say: no value, NaN, or not all of it was seen."""
    operator, limit, value = wanted.operator, wanted.value, reading.value
    if operator is None or limit is None or value is None or not math.isfinite(value):
        return None
    if reading.at_least:
        if operator in (Operator.GT, Operator.GE):
            return True if operator.holds(value, limit) else None
        return None if operator.holds(value, limit) or value < limit else False
    if not reading.complete:
        return None
    values = [value] if reading.low is None or reading.high is None else [reading.low, reading.high]
    return all(operator.holds(one, limit) for one in values)


def length(index: Indexed, probe: Probe, wanted: Expectation, span: Span) -> float:
    """Seconds of this expectation's sliding windows."""
    if wanted.hold and wanted.quantifier is Quantifier.ALWAYS:
        return min(wanted.hold, span.length)
    if isinstance(probe, Share):
        count = len(probe.among(index, span))
    else:
        first, last = index.within(span)
        count = last - first
    rate = count / span.length if span.length else 0.0
    ample = AMPLE * probe.min_samples / rate if rate else 0.0
    return min(max(LENGTH, ample), span.length)


def _windows(index: Indexed, probe: Probe, wanted: Expectation, span: Span) -> Iterator[Span]:
    if probe.kind is Kind.LEVEL:
        changes = probe.changes(index, span) if isinstance(probe, Stepped) else []
        edges = [span.start, *(moment for moment in changes if moment > span.start), span.end]
        yield from (Span(start, end) for start, end in itertools.pairwise(edges))
        return
    if probe.kind is Kind.TOTAL:
        if wanted.quantifier in (Quantifier.ALWAYS, Quantifier.ONCE):
            yield span
            return
        for count in range(1, math.ceil(span.length / STEP) + 1):
            yield Span(span.start, min(span.start + count * STEP, span.end))
        return
    size = length(index, probe, wanted, span)
    for count in range(max(1, math.floor((span.length - size) / STEP + 1e-9) + 1)):
        yield Span(span.start + count * STEP, span.start + count * STEP + size)
