"""How far a share that was counted in a sample may be from the true one."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson(count: int, total: int) -> tuple[float, float]:
    """95 % score interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209); (0, 1) of nothing."""
    if total == 0:
        return 0.0, 1.0
    share, z2 = count / total, Z95 * Z95
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 / (1 + z2 / total) * math.sqrt(share * (1 - share) / total + z2 / (4 * total * total))
    return (0.0 if count == 0 else max(0.0, centre - half)), (1.0 if count == total else min(1.0, centre + half))
