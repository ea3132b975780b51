"""Quantities with their dimension: ``90s``, ``800ms``, ``95%``, ``6/s``, ``3``.

Base units are seconds, shares (0 to 1), events per second and counts. A number without its unit is an error wherever a
unit is meant: ``ttft.p95 < 800`` says nothing until it says 800 of what.
"""

from __future__ import annotations

import enum
import math
import re
from dataclasses import dataclass


class Dimension(enum.StrEnum):
    """What a number counts."""

    DURATION = "duration"
    SHARE = "share"
    RATE = "rate"
    COUNT = "count"

    @property
    def example(self) -> str:
        return _EXAMPLES[self]


_EXAMPLES = {
    Dimension.DURATION: "800ms, 5s, 2m",
    Dimension.SHARE: "95%",
    Dimension.RATE: "6/s",
    Dimension.COUNT: "3",
}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_PER = {"s": 1.0, "min": 1 / 60, "m": 1 / 60, "h": 1 / 3600}
_QUANTITY = re.compile(r"(?P<number>[0-9]{1,12}(?:\.[0-9]{1,9})?)\s*(?P<unit>%|/?[a-z]+)?")


@dataclass(frozen=True, slots=True)
class Quantity:
    """``value`` is in the base unit of ``dimension``."""

    value: float
    dimension: Dimension

    def __str__(self) -> str:
        return show(self.value, self.dimension)


def parse(text: str) -> Quantity:
    """Read one quantity.

    Raises:
        ValueError: the text is no quantity; the message says what would be.

    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a quantity; write for example {', '.join(_EXAMPLES.values())}")
    number, unit = float(match["number"]), match["unit"]
    if unit is None:
        return Quantity(number, Dimension.COUNT)
    if unit == "%":
        return Quantity(number / 100, Dimension.SHARE)
    if unit.startswith("/") and unit[1:] in _PER:
        return Quantity(number * _PER[unit[1:]], Dimension.RATE)
    if unit in _SECONDS:
        return Quantity(number * _SECONDS[unit], Dimension.DURATION)
    allowed = ", ".join([*_SECONDS, "%", *(f"/{per}" for per in _PER)])
    raise ValueError(f"unknown unit {unit!r} in {text!r}; the units are {allowed}")


def parse_as(text: str, dimension: Dimension) -> float:
    """Read one quantity of a given dimension, in its base unit.

    Raises:
        ValueError: not a quantity, or of another dimension.

    """
    quantity = parse(text)
    if quantity.dimension is not dimension:
        raise ValueError(
            f"{text!r} is a {quantity.dimension.value}, and a {dimension.value} is wanted here "
            f"(for example {dimension.example})"
        )
    return quantity.value


def show(value: float, dimension: Dimension | str) -> str:
    """Write a value for people, with three significant digits: ``812ms``, ``1.24s``, ``1m 32s``, ``97.2%``."""
    if not math.isfinite(value):
        return "-"
    match Dimension(dimension):
        case Dimension.DURATION:
            return _duration(value)
        case Dimension.SHARE:
            return f"{value * 100:.3g}%" if value * 100 < 99.5 or value == 1 else f"{value * 100:.2f}%"
        case Dimension.RATE:
            return f"{value:.3g}/s"
        case Dimension.COUNT:
            return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def _duration(seconds: float) -> str:
    size = abs(seconds)
    if size < 0.001:
        return f"{seconds * 1e6:.0f}us" if size else "0s"
    if size < 1:
        return f"{seconds * 1e3:.3g}ms"
    if size < 100:
        return f"{seconds:.3g}s"
    minutes, rest = divmod(round(size), 60)
    sign = "-" if seconds < 0 else ""
    return f"{sign}{minutes}m {rest}s" if minutes < 60 else f"{sign}{minutes // 60}h {minutes % 60}m"


def exact(value: float, dimension: Dimension) -> str:
    """Write a value so that ``parse_as`` reads the very same number back."""
    scale, unit = {Dimension.SHARE: (100.0, "%"), Dimension.RATE: (1.0, "/s"), Dimension.DURATION: (1.0, "s")}.get(
        dimension, (1.0, "")
    )
    return f"{value * scale:.9f}".rstrip("0").rstrip(".") + unit
