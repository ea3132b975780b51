"""The port of every probe: what it is called, what it counts, and how it reads a history. Probes never judge."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from drillbook.model.history import History, Span
from drillbook.model.units import Dimension


class Kind(enum.Enum):
    """How readings of one probe relate to time, and so how a quantifier asks it."""

    WINDOW = "of what happened in a window: shares, quantiles, rates"
    LEVEL = "a level that holds until it changes: ready engines, readings of a custom probe"
    TOTAL = "a sum since the window began, that only grows: tokens lost, restarts, seconds"
    EVENT = "happens once, or not"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a probe saw in one window.

    ``value`` is in the base unit of the probe's dimension; for an event it is the monotonic moment. It is None where
    nothing can be said; where ``complete`` is false it is the best that can be said, and ``reason`` tells what is
    missing.
    """

    value: float | None
    samples: int = 0
    complete: bool = True
    reason: str = ""
    interval: tuple[float, float] | None = None
    """95 % interval of a share."""
    evidence: tuple[str, ...] = ()
    low: float | None = None
    """Lowest value within the window, of a level."""
    high: float | None = None
    failed: bool = False
    """The last attempt to read it gave nothing."""
    at_least: bool = False
    """The true value is ``value`` or more: users were still waiting, or it has not happened yet."""


class Probe(Protocol):
    """Reads one figure off a history; pure."""

    @property
    def name(self) -> str: ...

    @property
    def dimension(self) -> Dimension | None:
        """None for an event."""

    @property
    def kind(self) -> Kind: ...

    @property
    def help(self) -> str: ...

    @property
    def min_samples(self) -> int:
        """Fewer samples make a reading incomplete."""

    def read(self, history: History, window: Span) -> Reading:
        """The figure over ``window`` (monotonic seconds, half open)."""


@runtime_checkable
class Stepped(Protocol):
    """A level: it is asked of every stretch between two of its changes."""

    def changes(self, history: History, window: Span) -> list[float]:
        """The moments inside the window at which the value changed."""


def missing(reason: str, samples: int = 0) -> Reading:
    """Nothing can be said."""
    return Reading(None, samples=samples, complete=False, reason=reason)
