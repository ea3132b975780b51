"""The harm that users took, in requests and in tokens."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import compress

import msgspec

from drillbook.model.history import Span
from drillbook.model.request import Outcome, RequestRecord
from drillbook.probes.index import Indexed
from drillbook.reports.stretches import Stretch

WORST_SECONDS = 5.0
"""Length of the window that ``worst`` is looked for in."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Requests of one stretch by what users got; every outcome has its key."""

    stretch: str
    total: int
    outcomes: dict[str, int]


class Worst(msgspec.Struct, frozen=True, kw_only=True):
    """The five seconds with the most bad requests, seconds after time zero."""

    start: float
    end: float
    bad: int
    total: int


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of failure as users met it, with a request that shows it."""

    outcome: Outcome
    status: int | None
    error: str
    count: int
    request: str
    at: float


class Harm(msgspec.Struct, frozen=True, kw_only=True):
    total: int
    bad: int
    outcomes: dict[str, int]
    by_stretch: tuple[Counts, ...]
    tokens_lost: int
    """Tokens that users of bad requests wanted and never got."""
    tokens_wasted: int
    """Tokens that were made for answers that never ended well."""
    hidden: int
    """Bad requests behind an HTTP 200: no counter of status codes sees them."""
    longest_wait: float
    """The longest that any user waited without progress before giving up, in seconds."""
    worst: Worst | None
    examples: tuple[Example, ...]
    """The most frequent kinds, at most eight."""


def harm(index: Indexed, stretches: Sequence[Stretch]) -> Harm:
    load = index.users
    bad = list(compress(load, index.bad))
    return Harm(
        total=len(load),
        bad=len(bad),
        outcomes=_outcomes(index.outcomes),
        by_stretch=tuple(_counts(index, stretch) for stretch in stretches),
        tokens_lost=sum(max(0, request.wanted_tokens - request.chunks) for request in bad),
        tokens_wasted=sum(request.chunks for request in bad),
        hidden=sum(request.status == 200 for request in bad),
        longest_wait=max((request.end - request.last_progress for request in bad), default=0.0),
        worst=_worst(index) if bad else None,
        examples=_examples(index, bad),
    )


def _outcomes(seen: Sequence[Outcome]) -> dict[str, int]:
    return {outcome.value: seen.count(outcome) for outcome in Outcome}


def _counts(index: Indexed, stretch: Stretch) -> Counts:
    first, last = index.within(Span(index.zero + stretch.start, index.zero + stretch.end))
    return Counts(stretch=stretch.name, total=last - first, outcomes=_outcomes(index.outcomes[first:last]))


def _worst(index: Indexed) -> Worst:
    """The windows that end with a bad request are enough: any other holds no more of them."""
    best = Worst(start=0.0, end=0.0, bad=0, total=0)
    moments = index.moments
    places = list(compress(range(len(moments)), index.bad))
    oldest = 0
    for count, place in enumerate(places, 1):
        while moments[places[oldest]] <= moments[place] - WORST_SECONDS:
            oldest += 1
        if count - oldest > best.bad:
            first = bisect_right(moments, moments[place] - WORST_SECONDS)
            start = index.relative(moments[first])
            best = Worst(start=start, end=start + WORST_SECONDS, bad=count - oldest, total=place - first + 1)
    return best


def _examples(index: Indexed, bad: Sequence[RequestRecord]) -> tuple[Example, ...]:
    kinds = Counter((request.outcome, request.status, request.error) for request in bad)
    first = {(request.outcome, request.status, request.error): request for request in reversed(bad)}
    return tuple(
        Example(
            outcome=outcome,
            status=status,
            error=error,
            count=count,
            request=first[outcome, status, error].id,
            at=index.relative(index.moment(first[outcome, status, error])),
        )
        for (outcome, status, error), count in kinds.most_common(8)
    )
