"""Whether two shares differ, or two small samples only look as if they did."""

from __future__ import annotations

import math

SURE = 0.05
"""A p-value below this is told as a real difference."""
_TIE = 1 + 1e-7
"""Tables as likely as the one that was seen, but for rounding."""


def fisher(hits: int, total: int, other_hits: int, other_total: int) -> float:
    """Two-sided p-value of Fisher's exact test: how likely shares so far apart are, were the true ones equal.

    The sum of the probabilities of all tables with the same margins that are no likelier than this one (R. A. Fisher,
    J. R. Stat. Soc. 98 (1935) 39). 1 where a sample is empty: nothing can be told from nothing.
    """
    if not total or not other_total:
        return 1.0
    both, all_hits = total + other_total, hits + other_hits
    possible = range(max(0, all_hits - other_total), min(total, all_hits) + 1)
    ways = [_log_choose(total, k) + _log_choose(other_total, all_hits - k) for k in possible]
    norm = _log_choose(both, all_hits)
    seen = _log_choose(total, hits) + _log_choose(other_total, other_hits) - norm
    limit = math.exp(seen) * _TIE
    return min(1.0, math.fsum(p for way in ways if (p := math.exp(way - norm)) <= limit))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
