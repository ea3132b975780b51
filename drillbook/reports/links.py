"""Links between ranks: what was set, what was measured on them, and how the engine answered, step by step.

The dose is the rate of the link, the response the time between a user's tokens. Beside both stands ``/health`` of the
same pods over the same interface: a path that the rules leave alone, and whose latency must not have changed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import msgspec

from drillbook.helper.shaping import Setting, show_rate
from drillbook.load import slis
from drillbook.model.events import FaultState, Phase
from drillbook.model.history import Span
from drillbook.model.plan import PlannedFault
from drillbook.probes.index import Indexed
from drillbook.probes.names import HEALTH, LINK_RATE

SETTLE = 1.0
"""Seconds after each change that are left out: what was in the queues, and the helper's start, lie in them."""


class LinkStage(msgspec.Struct, frozen=True, kw_only=True):
    """One state of the links. Times are seconds after time zero, rates bits a second."""

    name: str
    kind: str
    """``before``, ``throttle``, ``cut``, ``loss``, ``delay``, ``clear`` or ``after``."""
    start: float
    end: float
    rate: float | None
    """What was set; None where the rate is not what was changed."""
    measured: float | None
    """Median of what was measured on the link meanwhile, while the ranks used it as well."""
    lost: float | None
    """Median share of echoes that were not answered."""
    gaps: int
    """How many times between two tokens lie within."""
    itl_p50: float | None
    itl_p95: float | None
    slower: float | None
    """``itl_p50`` as a multiple of what it was before."""
    health_p50: float | None
    """Seconds that ``/health`` of the engine took, median."""


class LinkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One fault on links."""

    id: str
    transport: str
    evidence: str
    driver: str
    spared: tuple[int, ...]
    stages: tuple[LinkStage, ...]


def links(index: Indexed) -> tuple[LinkFacts, ...]:
    """Every fault on links that was injected."""
    planned = index.plan.faults if index.plan else ()
    return tuple(found for fault in planned if "transport" in fault.options for found in _facts(index, fault))


def _facts(index: Indexed, fault: PlannedFault) -> Iterator[LinkFacts]:
    options: Any = fault.options
    begun = index.fault_moment(FaultState.INJECTED, fault.id)
    if begun is None:
        return
    ended = index.fault_moment(FaultState.UNDOING, fault.id)
    undone = index.fault_moment(FaultState.UNDONE, fault.id)
    until = index.watched_until if ended is None else ended
    spans: list[tuple[str, Setting | None, Span]] = []
    if Phase.BASELINE in index.spans:
        spans.append(("before", None, index.spans[Phase.BASELINE]))
    marks = [(begun + at, Setting.of(told)) for at, told in options["steps"]]
    for (start, setting), following in zip(marks, [*(at for at, _ in marks[1:]), until], strict=True):
        if start < until:
            spans.append((_name(setting), setting, Span(start + SETTLE, max(min(following, until), start + SETTLE))))
    if undone is not None:
        spans.append(("after", None, Span(undone + SETTLE, max(index.end, undone + SETTLE))))
    stages: list[LinkStage] = []
    for name, held, span in spans:
        before = stages[0].itl_p50 if stages and stages[0].kind == "before" else None
        stages.append(_stage(index, name, held, span, before))
    yield LinkFacts(
        id=fault.id,
        transport=options["transport"],
        evidence=options["evidence"],
        driver=options["driver"],
        spared=tuple(options["spared"]),
        stages=tuple(stages),
    )


def _name(setting: Setting) -> str:
    return show_rate(setting.rate) if setting.kind == "throttle" else str(setting)


def _stage(index: Indexed, name: str, setting: Setting | None, span: Span, before: float | None) -> LinkStage:
    gaps = sorted(_gaps(index, span))
    middle = slis.quantile(gaps, 0.5)
    trains = [
        event
        for at, event in index.observed.get(LINK_RATE, ())
        if (event.labels.get("step") == "-1" if name == "before" else span.start <= at <= span.end)
    ]
    health = [
        event.took
        for at, event in index.observed.get(HEALTH, ())
        if span.start <= at <= span.end and event.value and "replica" in event.labels
    ]
    return LinkStage(
        name=name,
        kind=setting.kind if setting else name,
        start=index.relative(span.start),
        end=index.relative(span.end),
        rate=setting.rate if setting and setting.kind == "throttle" else None,
        measured=_median([event.value for event in trains if event.value is not None]),
        lost=_median([float(event.labels["lost"]) for event in trains if "lost" in event.labels]),
        gaps=len(gaps),
        itl_p50=middle,
        itl_p95=slis.quantile(gaps, 0.95),
        slower=middle / before if middle and before else None,
        health_p50=_median(health),
    )


def _gaps(index: Indexed, span: Span) -> Iterator[float]:
    """The times between two tokens that both came within the span."""
    for request in index.users:
        moments = [request.sent + token / 1e6 for token in request.tokens]
        for early, late in pairwise(moments):
            if span.start <= early and late <= span.end:
                yield late - early


def _median(values: list[float]) -> float | None:
    return statistics.median(values) if values else None
