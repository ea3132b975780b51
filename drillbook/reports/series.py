"""Users' figures over time, in bins, so that a chart of a million requests is as small as one of a thousand."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from drillbook.load import slis
from drillbook.model.request import Outcome
from drillbook.probes.index import Indexed

MOST_BINS = 240
MOST_DOTS = 1500
_WIDTHS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of the bin that begins ``start`` seconds after time zero. First tokens that never came are not in its
    quantiles: a chart shows them apart.
    """

    start: float
    outcomes: dict[str, int]
    """Only those outcomes that occurred."""
    goodput: float | None
    ttft_p50: float | None
    ttft_p95: float | None
    ttft_highest: float | None
    tokens: int


class Dot(msgspec.Struct, frozen=True, kw_only=True):
    """One request: when its user wanted it, and how long the first token took (None: it never came)."""

    at: float
    ttft: float | None
    outcome: Outcome


class Series(msgspec.Struct, frozen=True, kw_only=True):
    """``width`` is seconds per bin. ``dots`` is empty where a chart cannot show so many requests one by one."""

    start: float
    end: float
    width: float
    bins: tuple[Bin, ...]
    dots: tuple[Dot, ...]


def series(index: Indexed) -> Series:
    load = index.users
    start = min(index.relative(index.lines[0].mono), 0.0) if index.lines else 0.0
    if load:
        start = max(start, index.relative(load[0].scheduled) - 1.0)
    end = max(index.relative(index.end), start + 1.0)
    width = float(next((width for width in _WIDTHS if (end - start) / width <= MOST_BINS), (end - start) / MOST_BINS))
    moments = [
        moment if bad else one.scheduled for moment, bad, one in zip(index.moments, index.bad, load, strict=True)
    ]  # harm that the fault did to one in flight counts from the fault on; who was served counts when he asked
    shelves: defaultdict[int, list[int]] = defaultdict(list)
    origin = index.origin
    for place, moment in enumerate(moments):
        shelves[int((moment - origin) // width)].append(place)
    dots = (
        Dot(at=index.relative(moment), ttft=request.ttft, outcome=request.outcome)
        for moment, request in zip(moments, load if len(load) <= MOST_DOTS else (), strict=False)
    )
    bins = tuple(_bin(number * width, index, shelves[number]) for number in sorted(shelves))
    return Series(start=start, end=end, width=width, bins=bins, dots=tuple(dots))


def _bin(start: float, index: Indexed, places: Sequence[int]) -> Bin:
    good, waits, chunks = index.good, index.waits, index.chunks
    counts = Counter([index.outcomes[place] for place in places])
    known = len(places) - counts[Outcome.UNKNOWN]
    first = sorted(wait for place in places if (wait := waits[place]) is not None and wait != math.inf)
    return Bin(
        start=start,
        outcomes={outcome.value: count for outcome, count in counts.items()},
        goodput=sum([good[place] for place in places]) / known if known else None,
        ttft_p50=slis.quantile(first, 0.5),
        ttft_p95=slis.quantile(first, 0.95),
        ttft_highest=first[-1] if first else None,
        tokens=sum([chunks[place] for place in places]),
    )
