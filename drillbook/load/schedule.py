"""When requests are due: offsets in seconds from the start of the load, endless, and the same for the same seed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Literal

Arrivals = Literal["poisson", "constant"]


def arrivals(rate: float, kind: Arrivals, seed: int) -> Iterator[float]:
    """Offsets at which requests are due.

    ``constant`` is n/rate, computed anew for each n, so that no rounding error adds up. ``poisson`` is a Poisson
    process: independent exponential gaps of mean 1/rate, as users who know nothing of one another arrive.
    """
    if kind == "constant":
        return (index / rate for index in itertools.count())
    source = random.Random(f"arrivals/{seed}")  # noqa: S311 - a reproducible schedule, not a secret
    return itertools.accumulate(source.expovariate(rate) for _ in itertools.count())


def choices(size: int, seed: int) -> Iterator[int]:
    """Which of ``size`` prompts each request takes: independent uniform draws."""
    source = random.Random(f"prompts/{seed}")  # noqa: S311 - a reproducible schedule, not a secret
    return (source.randrange(size) for _ in itertools.count())
