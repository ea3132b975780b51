"""Users' figures over time, in bins, so that a chart of a million requests is as small as one of a thousand."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drillbook.load import slis
from drillbook.model.experiment import SloSpec
from drillbook.model.request import Outcome, RequestRecord
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
    shelves: dict[int, list[RequestRecord]] = {}
    for request in load:
        shelves.setdefault(int(_at(index, request) // width), []).append(request)
    dots = (
        Dot(at=_at(index, request), ttft=request.ttft, outcome=request.outcome)
        for request in (load if len(load) <= MOST_DOTS else ())
    )
    bins = tuple(_bin(number * width, shelves[number], index.slo) for number in sorted(shelves))
    return Series(start=start, end=end, width=width, bins=bins, dots=tuple(dots))


def _at(index: Indexed, request: RequestRecord) -> float:
    """When its user wanted it; harm that the fault did to one in flight counts from the fault on."""
    return index.relative(index.moment(request) if request.outcome.bad else request.scheduled)


def _bin(start: float, requests: Sequence[RequestRecord], slo: SloSpec) -> Bin:
    counts: dict[str, int] = {}
    for request in requests:
        counts[request.outcome.value] = counts.get(request.outcome.value, 0) + 1
    first = sorted(request.ttft for request in requests if request.ttft is not None)
    return Bin(
        start=start,
        outcomes=counts,
        goodput=slis.goodput(requests, slo).value,
        ttft_p50=slis.quantile(first, 0.5),
        ttft_p95=slis.quantile(first, 0.95),
        ttft_highest=first[-1] if first else None,
        tokens=sum(len(request.tokens) for request in requests),
    )
