"""What users saw, in figures, from the records alone. Pure; the live console, the probes and the reports share it.

Latencies follow the field's names: TTFT from the *scheduled* send to the first content chunk; ITL between successive
chunks; TPOT the mean time per token after the first; E2E from the scheduled send to the end. Quantiles are nearest-rank
(the smallest sample with at least a share ``q`` of all samples at or below it): each is a time that some user really
saw, and none is invented between two of them.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING

import msgspec

from drillbook.model.request import Outcome, RequestRecord

if TYPE_CHECKING:  # pydantic would cost the generator's process 0.1 s of its start
    from drillbook.model.experiment import SloSpec


class Latency(enum.StrEnum):
    """A latency that a request has, once or for each token."""

    TTFT = "ttft"
    ITL = "itl"
    TPOT = "tpot"
    E2E = "e2e"


class Share(msgspec.Struct, frozen=True):
    """``hits`` of ``total``. No requests at all is no share, neither 0 % nor 100 %."""

    hits: int
    total: int

    @property
    def value(self) -> float | None:
        return self.hits / self.total if self.total else None


def e2e(record: RequestRecord) -> float:
    """Seconds from the scheduled send to the end."""
    return record.end - record.scheduled


def tpot(record: RequestRecord) -> float | None:
    """Mean seconds per output token after the first; None with fewer than two content chunks.

    A chunk may hold several tokens. An answer that ended for its length has as many tokens as were asked for, whatever
    the chunks; otherwise each chunk counts as one.
    """
    chunks = record.chunks
    if chunks < 2:
        return None
    told = record.wanted_tokens if record.finish_reason == "length" else 0
    return ((record.last or 0) - (record.first or 0)) / 1e6 / (max(told, chunks) - 1)


def good(record: RequestRecord, slo: SloSpec) -> bool:
    """Complete, and within the bounds. An answer without visible tokens has its first at its end."""
    if record.outcome is not Outcome.OK:
        return False
    whole = e2e(record)
    if slo.ttft is not None:
        wait = record.ttft
        if (whole if wait is None else wait) > slo.ttft:
            return False
    if slo.itl is not None and (tpot(record) or 0.0) > slo.itl:
        return False
    return slo.e2e is None or whole <= slo.e2e


def goodput(records: Iterable[RequestRecord], slo: SloSpec) -> Share:
    """The share of good requests. Those that the end of the run cut off (``unknown``) do not count."""
    hits = total = 0
    for record in records:
        if record.outcome is not Outcome.UNKNOWN:
            total += 1
            hits += good(record, slo)
    return Share(hits, total)


def outcomes(records: Iterable[RequestRecord]) -> Counter[Outcome]:
    """How many requests came to which outcome."""
    return Counter(record.outcome for record in records)


def share(records: Iterable[RequestRecord], *outcome: Outcome) -> Share:
    """The share of requests that came to one of these outcomes, of all whose outcome is known."""
    counts = outcomes(records)
    return Share(sum(counts[one] for one in outcome), counts.total() - counts[Outcome.UNKNOWN])


def samples(records: Iterable[RequestRecord], latency: Latency) -> list[float]:
    """All samples of a latency in seconds, sorted.

    TTFT, ITL and TPOT are of every request that had them, whatever became of it later; E2E of those that ended ``ok``.
    A request that *hung* before its first token counts as an infinite TTFT: it waited, and leaving it out would let an
    outage improve the quantiles. Failures that were told are not waits: they show in their own shares.
    """
    found: list[float] = []
    match latency:
        case Latency.TTFT:
            for record in records:
                wait = record.ttft
                if wait is not None:
                    found.append(wait)
                elif record.outcome is Outcome.HUNG:
                    found.append(math.inf)
        case Latency.ITL:
            for record in records:
                found.extend(record.inter_token)
        case Latency.TPOT:
            found = [value for record in records if (value := tpot(record)) is not None]
        case Latency.E2E:
            found = [e2e(record) for record in records if record.outcome is Outcome.OK]
    found.sort()
    return found


def quantile(ordered: Sequence[float], q: float) -> float | None:
    """The nearest-rank quantile of sorted samples (0 < q <= 1); None of none."""
    return ordered[_rank(len(ordered), q)] if ordered else None


def _rank(count: int, q: float) -> int:
    return max(0, math.ceil(q * count - 1e-9) - 1)


def gaps(records: Iterable[RequestRecord]) -> Counter[int]:
    """All samples of ITL, counted by their microseconds: tens of millions of them are no more than some thousands."""
    return Counter(chain.from_iterable(record.gaps for record in records))


def quantile_of_counts(counts: Mapping[int, int], q: float) -> int | None:
    """As ``quantile``, of samples that were counted."""
    if not counts:
        return None
    values = sorted(counts)
    return values[bisect_right(list(accumulate(map(counts.__getitem__, values))), _rank(sum(counts.values()), q))]
