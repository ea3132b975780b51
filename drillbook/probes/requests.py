"""Probes of what users got, read off their requests: shares by outcome, latencies, rates, and the harm in totals."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

from drillbook.load import slis
from drillbook.model.history import History, Span
from drillbook.model.request import Outcome, RequestRecord
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.intervals import wilson
from drillbook.probes.reading import Kind, Probe, Reading, missing

UNKNOWN_SHARE = 0.05
"""Above this share of requests whose end was not seen, a window is incomplete."""
NAMED = 5
"""Ids of requests that a reading names as evidence."""


@dataclass(frozen=True)
class Share:
    """The share of the requests of a window that ended in one way; those whose end was not seen are left out.

    Ten samples at least: with fewer, one request more or less moves the figure by more than ten points.
    """

    name: str
    help: str
    outcome: Outcome | None
    """None for goodput: ok and within the SLO."""
    dimension: Dimension = Dimension.SHARE
    kind: Kind = Kind.WINDOW
    min_samples: int = 10

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        first, last = index.within(window)
        unknown = index.count_outcome(Outcome.UNKNOWN, window)
        total = last - first - unknown
        if not total:
            reason = f"none of {unknown} requests had ended" if unknown else "no request was scheduled then"
            return missing(reason)
        count = index.count(self._key, lambda: self._flags(index), window)
        reason = _few(total, self.min_samples, "requests")
        if unknown > UNKNOWN_SHARE * (last - first):
            reason = f"the end of {unknown} of {last - first} requests was not seen"
        return Reading(
            count / total,
            samples=total,
            complete=not reason,
            reason=reason,
            interval=wilson(count, total),
            evidence=self._evidence(index, window),
        )

    @property
    def _key(self) -> str:
        return self.outcome.value if self.outcome else "good"

    def _flags(self, index: Indexed) -> list[bool]:
        if self.outcome is None:
            return index.good
        return [outcome is self.outcome for outcome in index.outcomes]

    def _evidence(self, index: Indexed, window: Span) -> tuple[str, ...]:
        """Requests that ended so; for goodput those that were not good."""
        if self.outcome is None:
            places = index.places("not good", lambda: _not_good(index), window)
        else:
            places = index.places(self._key, lambda: self._flags(index), window)
        return tuple(index.users[place].id for place in places[:NAMED])


def _not_good(index: Indexed) -> list[bool]:
    both = zip(index.good, index.outcomes, strict=True)
    return [not good and outcome is not Outcome.UNKNOWN for good, outcome in both]


QUANTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
LATENCIES = {
    slis.Latency.TTFT: "time to first token, from the scheduled send",
    slis.Latency.ITL: "time between successive content chunks, of all requests together",
    slis.Latency.TPOT: "mean time per output token after the first, of each request",
    slis.Latency.E2E: "time from the scheduled send to the end of complete requests",
}


@dataclass(frozen=True)
class Latency:
    """One statistic of one latency. A quantile q needs ``1 / (1 - q)`` samples: fewer hold none beyond it.

    Users who gave up before their first token waited longer than any who got one. Where the figure falls among them,
    it is *at least* the longest of their waits.
    """

    name: str
    help: str
    latency: slis.Latency
    statistic: str
    dimension: Dimension = Dimension.DURATION
    kind: Kind = Kind.WINDOW

    @property
    def min_samples(self) -> int:
        if self.statistic in QUANTILES:
            return max(5, round(1 / (1 - QUANTILES[self.statistic])))
        return 1 if self.statistic == "max" else 5

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        requests = index.requests_of(window)
        if self.latency is slis.Latency.TTFT:
            first, last = index.within(window)
            values = sorted(wait for wait in index.waits[first:last] if wait is not None)
        else:
            values = slis.samples(requests, self.latency)
        if not values:
            return missing("no request got a token then" if requests else "no request was scheduled then")
        if self.statistic == "mean":
            value = math.fsum(values) / len(values)
        else:
            value = slis.quantile(values, QUANTILES.get(self.statistic, 1.0)) or 0.0
        endless = math.isinf(value)
        if endless:
            value = max(slis.e2e(request) for request in requests if request.outcome is Outcome.HUNG)
        reason = _few(len(values), self.min_samples, "samples")
        return Reading(value, samples=len(values), complete=not reason, reason=reason, at_least=endless)


@dataclass(frozen=True)
class Rate:
    """Something a second over the window."""

    name: str
    help: str
    count: Callable[[Indexed, Span], int]
    dimension: Dimension = Dimension.RATE
    kind: Kind = Kind.WINDOW
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if not index.users or not window.length:
            return missing("no request was sent")
        count = self.count(index, window)
        return Reading(count / window.length, samples=count)


def _sent(index: Indexed, window: Span) -> int:
    first, last = index.within(window)
    return last - first


def _tokens(index: Indexed, window: Span) -> int:
    found = 0
    for request in index.users:
        if request.sent < window.end and request.last_progress >= window.start:
            early = bisect_left(request.tokens, (window.start - request.sent) * 1e6)
            found += bisect_left(request.tokens, (window.end - request.sent) * 1e6) - early
    return found


def _tokens_lost(request: RequestRecord) -> int:
    return max(0, request.wanted_tokens - request.chunks)


@dataclass(frozen=True)
class Total:
    """A sum over the bad requests of the window."""

    name: str
    help: str
    of: Callable[[RequestRecord], int]
    dimension: Dimension = Dimension.COUNT
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        first, last = index.within(window)
        if first == last:
            return missing("no request was scheduled then")
        bad = (index.users[place] for place in index.places("bad", lambda: index.bad, window))
        counts = [(count, request.id) for request in bad if (count := self.of(request))]
        worst = heapq.nlargest(NAMED, counts)
        return Reading(
            sum(count for count, _ in counts), samples=last - first, evidence=tuple(name for _, name in worst)
        )


def _few(count: int, wanted: int, what: str) -> str:
    return f"only {count} {what if count != 1 else what[:-1]}, and {wanted} are needed" if count < wanted else ""


PROBES: tuple[Probe, ...] = (
    Share("goodput", "share of requests that were ok and within the SLO", None),
    Share("error-rate", "share of requests that ended in an error before any token", Outcome.FAILED),
    Share("truncation-rate", "share of requests that broke off after their first token", Outcome.TRUNCATED),
    Share("hang-rate", "share of requests that showed no progress for the stall time-out", Outcome.HUNG),
    Share("shed-rate", "share of requests that were refused with 429 or 503", Outcome.SHED),
    *(
        Latency(f"{latency.value}.{statistic}", f"{statistic} of the {text}", latency, statistic)
        for latency, text in LATENCIES.items()
        for statistic in (*QUANTILES, "mean", "max")
    ),
    Rate("request-rate", "requests scheduled a second", _sent),
    Rate("tokens-per-second", "content chunks that reached users a second", _tokens),
    Total("tokens-lost", "tokens that users of bad requests wanted and never got", _tokens_lost),
    Total("requests-failed", "requests that ended badly in any way", lambda _: 1),
)
