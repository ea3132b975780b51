"""What a second load did to the engines' batches and KV caches, and whether the users of the first felt it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drillbook.load import slis
from drillbook.model.history import Span
from drillbook.model.request import Outcome, RequestRecord, Stream
from drillbook.probes import batching
from drillbook.probes.index import Indexed
from drillbook.probes.names import CACHE_USE, PREEMPTIONS
from drillbook.reports.stretches import Stretch


class FloodFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of the second load; no figure of the users counts them."""

    requests: int
    outcomes: dict[str, int]
    """Only those that occurred."""
    prompt_tokens: float | None
    """Of one prompt in the mean, as the engines counted; None where no answer told."""
    ttft_p50: float | None
    """Seconds."""
    start: float
    end: float
    """When its first and its last request were due, seconds after time zero."""


class BatchStretch(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch. None: the engines were not asked, or did not tell."""

    name: str
    cache_high: float | None
    """The fullest engine's share of its KV cache, at its highest."""
    preemptions: int | None
    waits_p95: float | None
    """Seconds to the users' first tokens."""
    gaps_p99: float | None
    """Seconds between two tokens of users' answers."""


class BatchingFacts(msgspec.Struct, frozen=True, kw_only=True):
    flood: FloodFacts | None
    stretches: tuple[BatchStretch, ...]


def batching_facts(index: Indexed, stretches: Sequence[Stretch]) -> BatchingFacts | None:
    """None where there was no second load, and nobody asked for preemptions or the KV cache."""
    flood = [request for request in index.requests if request.stream is Stream.FLOOD]
    told = batching.told(index, CACHE_USE) or batching.told(index, PREEMPTIONS)
    if not flood and not told:
        return None
    return BatchingFacts(
        flood=_flood(index, flood) if flood else None, stretches=tuple(_stretch(index, each) for each in stretches)
    )


def _flood(index: Indexed, flood: Sequence[RequestRecord]) -> FloodFacts:
    outcomes = {outcome.value: sum(one.outcome is outcome for one in flood) for outcome in Outcome}
    sizes = [one.prompt_tokens for one in flood if one.prompt_tokens]
    moments = [index.relative(one.scheduled) for one in flood]
    return FloodFacts(
        requests=len(flood),
        outcomes={name: count for name, count in outcomes.items() if count},
        prompt_tokens=sum(sizes) / len(sizes) if sizes else None,
        ttft_p50=slis.quantile(sorted(one.ttft for one in flood if one.ttft is not None), 0.5),
        start=min(moments),
        end=max(moments),
    )


def _stretch(index: Indexed, stretch: Stretch) -> BatchStretch:
    window = Span(index.origin + stretch.start, index.origin + stretch.end)
    users = index.requests_of(window)
    levels = batching.levels(index).within(window)
    thrown = batching.Preemptions().read(index, window)
    return BatchStretch(
        name=stretch.name,
        cache_high=max(levels, default=None),
        preemptions=None if thrown.value is None else int(thrown.value),
        waits_p95=slis.quantile(sorted(one.ttft for one in users if one.ttft is not None), 0.95),
        gaps_p99=slis.quantile(sorted(gap for one in users for gap in one.inter_token), 0.99),
    )
