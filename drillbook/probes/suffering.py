"""When users suffered: each bad request has its stretch of suffering, and together they say when service was broken.

Service is back with the first good request that a run of good ones and a hold window in the steady state follow. The
same rule ends every broken stretch, so that two good answers in a partial outage do not look like a recovery.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate, compress
from operator import itemgetter

from drillbook.load import slis
from drillbook.model.experiment import SloSpec
from drillbook.model.history import Span
from drillbook.model.request import Outcome, RequestRecord
from drillbook.probes.index import Indexed

HOLD_SECONDS = 5.0
"""How long the steady state must hold from a good request on, for service to count as back."""
RUN_LENGTH = 5
"""Good requests in a row, the first included, that it takes as well."""


@dataclass(frozen=True)
class Suffering:
    """What one bad request was to its user, monotonic seconds."""

    request: RequestRecord
    start: float
    end: float


@dataclass(frozen=True)
class Outage:
    """From the first suffering to the return of service. ``back`` is the request that brought it; None: not seen."""

    first: Suffering
    start: float
    end: float
    back: RequestRecord | None
    watched: float
    """Seconds of good service seen after ``end`` where that was too short to be sure; 0 where none was good."""
    deep: bool
    """Whether it broke the steady state; an odd failure within the steady state's own share does not."""
    last_bad: float
    """When the last of its bad requests was scheduled."""


@dataclass(frozen=True)
class Patience:
    """The longest silences of good requests before the fault: longer ones are stalls."""

    first: float
    next: float

    @classmethod
    def of(cls, index: Indexed) -> Patience:
        injected = index.injected if index.injected is not None else index.end
        until = bisect_right(index.moments, injected)  # who ended before had begun before
        calm = [r for r in compress(index.users[:until], index.good) if r.end <= injected and r.chunks]
        if not calm:
            return cls(index.stall_timeout, index.stall_timeout)
        gaps = (max(r.gaps, default=0) for r in calm)
        return cls(max(r.ttft or 0.0 for r in calm), max(gaps) / 1e6 or index.stall_timeout)


def suffering(request: RequestRecord, index: Indexed, patience: Patience) -> Suffering | None:
    """How long the user of a bad request suffered; None for a good one.

    A stall began at the last progress, and so did an error that came after a silence longer than any of the baseline's;
    an error out of the blue began when it arrived. A broken SLO began when its bound passed.
    """
    if request.outcome is Outcome.OK:
        late = breach(request, index.slo)
        if late is None:
            return None
        slow = index.slo.ttft is not None and first_token(request) - request.scheduled > index.slo.ttft
        return Suffering(request, late, max(late, first_token(request) if slow else request.end))
    if not request.outcome.bad:
        return None
    moved = request.last_progress if request.chunks else request.scheduled
    silent = request.end - moved > (patience.next if request.chunks else patience.first)
    stalled = request.outcome is Outcome.HUNG or silent
    return Suffering(request, moved if stalled else request.end, request.end)


def breach(request: RequestRecord, slo: SloSpec) -> float | None:
    """The moment at which the first bound of the SLO passed unmet; None where all were kept.

    The time per token is known only at the end, and so is its breach.
    """
    moments: list[float] = []
    if slo.ttft is not None and first_token(request) - request.scheduled > slo.ttft:
        moments.append(request.scheduled + slo.ttft)
    if slo.e2e is not None and slis.e2e(request) > slo.e2e:
        moments.append(request.scheduled + slo.e2e)
    if slo.itl is not None and (slis.tpot(request) or 0.0) > slo.itl:
        moments.append(request.end)
    return min(moments, default=None)


def outages(index: Indexed) -> list[Outage]:
    """All stretches since the first injection in which users failed, in order, clipped to begin with it."""
    return index.once("outages", lambda: list(_outages(index)))


def _outages(index: Indexed) -> list[Outage]:
    injected = index.injected
    if injected is None:
        return []
    patience = Patience.of(index)
    last = len(index.users)
    not_good = index.places("not served", lambda: [not good for good in index.good], Span(injected, float("inf")))
    harmed = [(place, one) for place in not_good if (one := suffering(index.users[place], index, patience)) is not None]
    found: list[Outage] = []
    back = _Return(index)
    begin = 0
    while begin < len(harmed):
        place, first = harmed[begin]
        returned = back.after(place, last, max(first.start, injected))
        end = len(harmed) if returned is None else bisect_left(harmed, returned, begin + 1, key=itemgetter(0))
        found.append(_outage(index, [one for _, one in harmed[begin:end]], injected, returned, back, place))
        begin = end
    return found


def _outage(
    index: Indexed, bad: list[Suffering], injected: float, returned: int | None, back: _Return, place: int
) -> Outage:
    earliest = min(bad, key=lambda one: max(one.start, injected))
    end = max(one.end for one in bad)
    request = index.users[returned] if returned is not None else None
    watched = 0.0
    if request is not None:
        end = min(end, first_token(request))
        watched = HOLD_SECONDS if back.proven(returned or 0) else index.moments[-1] - request.scheduled
    start = max(earliest.start, injected)
    return Outage(
        first=earliest,
        start=start,
        end=max(start, end),
        back=request,
        watched=watched,
        deep=back.share(place) < index.threshold or request is None,
        last_bad=max(one.request.scheduled for one in bad),
    )


def first_token(request: RequestRecord) -> float:
    """When the first token (without streaming: the answer) reached the user, monotonic seconds."""
    first = request.first
    return request.end if first is None else request.sent + first / 1e6


class _Return:
    """Finds the request with which service is back."""

    def __init__(self, index: Indexed) -> None:
        self._index = index
        self._good = list(accumulate(index.good, initial=0))
        self._known = list(accumulate([outcome is not Outcome.UNKNOWN for outcome in index.outcomes], initial=0))
        self._seen_until = index.moments[-1] if index.moments else 0.0

    def after(self, place: int, last: int, since: float) -> int | None:
        """The first request behind ``place`` that got its first token after ``since``, is good, and begins a run of
        good ones and a hold window that holds.
        """
        for spot in range(place + 1, last):
            if self._index.good[spot] and first_token(self._index.users[spot]) >= since and self._returns(spot):
                return spot
        return None

    def _returns(self, spot: int) -> bool:
        return self._run(spot) and self.share(spot) >= self._index.threshold

    def _run(self, spot: int) -> bool:
        until = min(spot + RUN_LENGTH, len(self._index.users))
        known = self._known[until] - self._known[spot]
        return known > 0 and self._good[until] - self._good[spot] == known

    def share(self, spot: int) -> float:
        """Good among the known requests of the hold window that begins here."""
        until = bisect_left(self._index.moments, self._index.moments[spot] + HOLD_SECONDS)
        known = self._known[until] - self._known[spot]
        return (self._good[until] - self._good[spot]) / known if known else 0.0

    def proven(self, spot: int) -> bool:
        """Whether the whole hold window and the whole run were seen."""
        return self._seen_until >= self._index.moments[spot] + HOLD_SECONDS and spot + RUN_LENGTH <= len(
            self._index.users
        )
