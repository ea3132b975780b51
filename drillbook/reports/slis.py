"""What users got, before, during and after the fault, and whether a difference is real or could be noise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from drillbook.load import slis as measure
from drillbook.model.history import Span
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.reports import intervals
from drillbook.reports.intervals import Interval
from drillbook.reports.stretches import Stretch

_SHOWN = (0.5, 0.95, 0.99, 1.0)


class Quantiles(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds, each a time that was really seen. None where there are no samples; infinite (in JSON: null) where the
    quantile lies among users who never got a first token.
    """

    count: int
    p50: float | None
    p95: float | None
    p99: float | None
    highest: float | None


class Sli(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch. ``requests`` leaves out those whose end was not seen (``unknown``)."""

    stretch: Stretch
    requests: int
    good: int
    goodput: float | None
    interval: Interval
    """95 % interval of ``goodput``."""
    ttft: Quantiles
    itl: Quantiles
    tokens_per_second: float


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one stretch against ``before``, in the base unit of ``dimension``."""

    figure: str
    stretch: str
    dimension: Dimension
    before: float
    value: float
    difference: float
    interval: Interval | None
    """95 % interval of the difference; None where too few requests, or users who never got a token, leave it open."""
    real: bool
    note: str


def slis(index: Indexed, stretches: Sequence[Stretch]) -> tuple[Sli, ...]:
    return tuple(_sli(index, stretch) for stretch in stretches)


def comparisons(index: Indexed, stretches: Sequence[Stretch]) -> tuple[Comparison, ...]:
    """Goodput and first-token times of each later stretch against the first; empty without a stretch before."""
    if not stretches or stretches[0].name != "before":
        return ()
    return tuple(row for stretch in stretches[1:] for row in _against(index, stretches[0], stretch))


def _span(index: Indexed, stretch: Stretch) -> Span:
    return Span(index.origin + stretch.start, index.origin + stretch.end)


def _waits(index: Indexed, stretch: Stretch) -> list[float]:
    """The times to first token of a stretch, sorted."""
    first, last = index.within(_span(index, stretch))
    return index.once(
        f"waits {first} {last}", lambda: sorted([wait for wait in index.waits[first:last] if wait is not None])
    )


def _goodput(index: Indexed, stretch: Stretch) -> measure.Share:
    span = _span(index, stretch)
    first, last = index.within(span)
    known = last - first - index.count_outcome(Outcome.UNKNOWN, span)
    return measure.Share(index.count("good", lambda: index.good, span), known)


def _sli(index: Indexed, stretch: Stretch) -> Sli:
    first, last = index.within(_span(index, stretch))
    share = _goodput(index, stretch)
    return Sli(
        stretch=stretch,
        requests=share.total,
        good=share.hits,
        goodput=share.value,
        interval=intervals.wilson(share.hits, share.total),
        ttft=_of_waits(_waits(index, stretch)),
        itl=_of_gaps(measure.gaps(index.users[first:last])),
        tokens_per_second=sum(index.chunks[first:last]) / (stretch.end - stretch.start),
    )


def _of_waits(ordered: list[float]) -> Quantiles:
    p50, p95, p99, highest = (measure.quantile(ordered, q) for q in _SHOWN)
    return Quantiles(count=len(ordered), p50=p50, p95=p95, p99=p99, highest=highest)


def _of_gaps(gaps: Counter[int]) -> Quantiles:
    found = (measure.quantile_of_counts(gaps, q) for q in _SHOWN)
    p50, p95, p99, highest = (None if micros is None else micros / 1e6 for micros in found)
    return Quantiles(count=gaps.total(), p50=p50, p95=p95, p99=p99, highest=highest)


def _against(index: Indexed, first: Stretch, later: Stretch) -> Iterator[Comparison]:
    before, now = _goodput(index, first), _goodput(index, later)
    if before.value is not None and now.value is not None:
        interval = intervals.newcombe(now.hits, now.total, before.hits, before.total)
        yield Comparison(
            figure="goodput",
            stretch=later.name,
            dimension=Dimension.SHARE,
            before=before.value,
            value=now.value,
            difference=now.value - before.value,
            interval=interval,
            real=not interval[0] <= 0 <= interval[1],
            note=_note(not interval[0] <= 0 <= interval[1]),
        )
    base, mine = _waits(index, first), _waits(index, later)
    for figure, q in (("ttft.p50", 0.5), ("ttft.p95", 0.95)):
        if base and mine:
            yield _quantile(figure, later.name, base, mine, q)


def _quantile(figure: str, stretch: str, base: list[float], mine: list[float], q: float) -> Comparison:
    before, value = measure.quantile(base, q) or 0.0, measure.quantile(mine, q) or 0.0
    bounds, my_bounds = intervals.quantile_interval(base, q), intervals.quantile_interval(mine, q)
    interval, real = None, False
    if bounds is None or my_bounds is None:
        note = f"too few first tokens to say (n = {len(base)} and {len(mine)})"
    elif all(map(math.isfinite, (*bounds, *my_bounds))):
        interval = intervals.mover(value, my_bounds, before, bounds)
        real = not interval[0] <= 0 <= interval[1]
        note = _note(real)
    else:
        real = my_bounds[0] > bounds[1]
        note = _note(real) + "; some users never got a first token"
    return Comparison(
        figure=figure,
        stretch=stretch,
        dimension=Dimension.DURATION,
        before=before,
        value=value,
        difference=value - before,
        interval=interval,
        real=real,
        note=note,
    )


def _note(real: bool) -> str:
    return "the difference is real" if real else "could be noise"
