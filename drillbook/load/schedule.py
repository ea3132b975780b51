"""When requests are due: offsets in seconds from the start of the load, endless, and the same for the same seed."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from typing import Literal

from msgspec import UNSET, UnsetType

Arrivals = Literal["poisson", "constant"]


class Timetable:
    """When the next request is due, under a rate that may change on the way.

    The n-th request is due once the rate, added up over time, has reached the n-th of a series: 0, 1, 2, … where
    arrivals are constant, or sums of independent exponential gaps of mean 1, which makes a Poisson process of that
    rate, as users who know nothing of one another arrive. A change moves what is not due yet, and loses nothing.
    """

    def __init__(self, rate: float, kind: Arrivals, seed: int) -> None:
        source = random.Random(f"arrivals/{seed}")  # noqa: S311 - a reproducible schedule, not a secret
        gaps = (source.expovariate(1) for _ in itertools.count())
        self._series: Iterator[float] = iter(itertools.count()) if kind == "constant" else itertools.accumulate(gaps)
        self._pieces = [(0.0, 0.0, rate)]
        """Where each rate begins, in seconds, how many requests are expected before it, and the rate per second."""
        self._next = next(self._series)

    def change(self, at: float, rate: float) -> None:
        """From ``at`` seconds on the rate is ``rate`` per second; what was said of any time after ``at`` is void."""
        kept = [piece for piece in self._pieces if piece[0] < at] or self._pieces[:1]
        begins, before, former = kept[-1]
        at = max(at, begins)
        self._pieces = [*kept, (at, before + (at - begins) * former, rate)]

    @property
    def due(self) -> float:
        """The offset at which the next request is due, in seconds; infinite while the rate is zero for good."""
        begins, before, rate = next(piece for piece in reversed(self._pieces) if piece[1] <= self._next)
        return begins + (self._next - before) / rate if rate else math.inf

    def step(self) -> None:
        """The next request is sent: on to the one after it."""
        self._next = next(self._series)


def arrivals(rate: float, kind: Arrivals, seed: int) -> Iterator[float]:
    """Offsets at which requests are due while the rate never changes."""
    table = Timetable(rate, kind, seed)
    while True:
        yield table.due
        table.step()


def choices(size: int, seed: int) -> Iterator[int]:
    """Which of ``size`` prompts each request takes: independent uniform draws."""
    source = random.Random(f"prompts/{seed}")  # noqa: S311 - a reproducible schedule, not a secret
    return (source.randrange(size) for _ in itertools.count())


def sessions(count: int, seed: int) -> Iterator[str | UnsetType]:
    """Whose request each is, of ``count`` users who ask equally often; nobody's where there are none.

    The names are the same in every worker, whatever its seed: all of them send for the same users.
    """
    if not count:
        return itertools.repeat(UNSET)
    source = random.Random(f"sessions/{seed}")  # noqa: S311 - a reproducible schedule, not a secret
    return (f"session-{source.randrange(count)}" for _ in itertools.count())
