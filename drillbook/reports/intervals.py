"""Intervals for rates, for quantiles and for differences, without a statistics library.

- Wilson score interval of one share: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209; method 3 in Newcombe (1998a).
- Difference of two independent shares: R. G. Newcombe, Statistics in Medicine 17 (1998b) 873, method 10 (no
  continuity correction), which joins two Wilson intervals.
- Quantile: the order statistics whose binomial ranks enclose it (W. J. Conover, Practical Nonparametric Statistics,
  1999, section 3.2): no assumption about the shape of latencies. Ranks use the normal approximation to the binomial.
- Difference of two quantiles: the same joining of two intervals, MOVER (G. Y. Zou and A. Donner, Statistics in
  Medicine 27 (2008) 1693).

All are two-sided 95 % intervals.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from drillbook.probes.intervals import Z95, wilson

__all__ = ["Interval", "mover", "newcombe", "quantile_interval", "wilson"]

Interval = tuple[float, float]


def newcombe(good: int, total: int, other_good: int, other_total: int) -> Interval:
    """Interval of the first share minus the other; (-1, 1) where either has nothing to count."""
    if not total or not other_total:
        return -1.0, 1.0
    first, other = wilson(good, total), wilson(other_good, other_total)
    return mover(good / total, first, other_good / other_total, other)


def quantile_interval(ordered: Sequence[float], q: float) -> Interval | None:
    """Interval of a quantile of sorted values; None where they are too few to bound it."""
    count = len(ordered)
    spread = Z95 * math.sqrt(count * q * (1 - q))
    low, high = math.floor(count * q - spread), math.ceil(count * q + spread)
    if low < 1 or high > count - 1:
        return None
    return ordered[low - 1], ordered[high]


def mover(first: float, first_interval: Interval, other: float, other_interval: Interval) -> Interval:
    """Interval of ``first - other``, joined from the interval of each."""
    difference = first - other
    down = math.hypot(first - first_interval[0], other_interval[1] - other)
    up = math.hypot(first_interval[1] - first, other - other_interval[0])
    return difference - down, difference + up
