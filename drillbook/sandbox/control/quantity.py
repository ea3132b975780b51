"""Kubernetes quantities (``250m``, ``1Gi``) and int-or-percent values (``25%``) as numbers."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from functools import lru_cache

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40),
    "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip


@lru_cache(maxsize=4096)
def _parse(text: str) -> Decimal:
    number = text.rstrip("numkMGTPEi") if not text[-1:].isdigit() else text
    try:
        return Decimal(number) * _SUFFIXES[text[len(number) :]]
    except (InvalidOperation, KeyError):
        raise ValueError(f"{text!r} is not a quantity such as 500m, 2 or 1Gi") from None


def parse(value: str | float) -> Decimal:
    """The exact value. Raises ValueError."""
    return _parse(str(value).strip())


def of_share(value: str | int | None, total: int, *, up: bool) -> int:
    """An int-or-percent of ``total``; percentages are rounded up or down. Raises ValueError."""
    if value is None:
        return 0
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    share = int(text[:-1]) * total / 100
    return math.ceil(share) if up else math.floor(share)
