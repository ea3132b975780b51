"""Custom probes: a decorator that says what a function measures, and nothing that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from drillbook.errors import UsageError
from drillbook.model import units
from drillbook.model.units import Dimension

Sampler = Callable[[Any], Awaitable[float] | float]


@dataclass(frozen=True)
class CustomProbe:
    """A function of the target that is called every so often while a run is live; its answers are written down."""

    name: str
    dimension: Dimension
    every: float
    """Seconds between two calls, and what each call may take at most."""
    sample: Sampler
    help: str = ""

    def __call__(self, target: Any) -> Awaitable[float] | float:
        return self.sample(target)


def probe(name: str, *, dimension: str, every: str = "1s") -> Callable[[Sampler], CustomProbe]:
    """Make a probe of a function of the target (plain or ``async``) that returns a number in base units.

    ``dimension`` is ``duration``, ``share``, ``rate`` or ``count``. Write all three as plain strings: ``list`` and
    ``validate`` read them without executing the file.

    Raises:
        UsageError: the dimension or the interval is none.

    """
    try:
        found, seconds = Dimension(dimension), units.parse_as(every, Dimension.DURATION)
    except ValueError as error:
        raise UsageError(
            f"probe {name!r}: {error}", f"dimensions: {', '.join(Dimension)}; every: for example 1s"
        ) from error
    return lambda sample: CustomProbe(name, found, seconds, sample, (sample.__doc__ or "").strip().partition("\n")[0])


def declared_in(module: ModuleType) -> list[CustomProbe]:
    """The probes of a loaded file, in the order in which they stand there."""
    return [value for value in vars(module).values() if isinstance(value, CustomProbe)]
