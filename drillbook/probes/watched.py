"""Probes of what was watched: whether something happened, and figures that only grow while a run goes on.

Clocks, autoscaling and rollouts each know what happened, and why nothing can be said; here it becomes a reading.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Reading, missing


@dataclass(frozen=True)
class Happened:
    """An event: its reading's value is the monotonic moment, or none, and why it did not happen."""

    name: str
    help: str
    moment: Callable[[Indexed], float | None]
    unknown: Callable[[Indexed], str]
    """Why nothing can be said; empty where something can."""
    why: Callable[[Indexed], str]
    """Why it did not happen, as far as that is known."""
    evidence: Callable[[Indexed], tuple[str, ...]] = lambda _: ()
    """What it was read off, where it happened."""
    dimension: Dimension | None = None
    kind: Kind = Kind.EVENT
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if unknown := self.unknown(index):
            return missing(unknown)
        at = self.moment(index)
        if at is None:
            return Reading(None, samples=1, reason=self.why(index))
        return Reading(at, samples=1, evidence=self.evidence(index))


@dataclass(frozen=True)
class Figure:
    """A figure over the window that only grows with it: a time that passed, a count, a sum."""

    name: str
    help: str
    of: Callable[[Indexed, Span], Reading]
    unknown: Callable[[Indexed], str] = lambda _: ""
    """Why nothing can be said; empty where something can."""
    dimension: Dimension = Dimension.DURATION
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        unknown = self.unknown(index)
        return missing(unknown) if unknown else self.of(index, window)


def lag(start: float, end: float | None, until: float, *, why: str, evidence: tuple[str, ...] = ()) -> Reading:
    """The time from one moment to another; not ended yet (``why``), it is at least what was watched of it."""
    if end is not None:
        return Reading(max(0.0, end - start), samples=1, evidence=evidence)
    return Reading(max(0.0, until - start), samples=1, complete=False, reason=why, at_least=True)
