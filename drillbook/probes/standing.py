"""When the guardrail stood: read off tripwires that it is known to block, and off their honest twins.

*Open* is an answered tripwire, *closed* a tripwire or a twin that was kept back for want of a verdict. A tripwire that
was answered before any fault is none: the healthy guardrail does not know it.
"""

from __future__ import annotations

from drillbook.model.attack import AttackKind, AttackOutcome, AttackRecord
from drillbook.model.history import Span
from drillbook.probes.index import Indexed

ENOUGH = 5
"""Tripwires in a row that must be blocked, from which on the guardrail is said to hold."""


def armed(index: Indexed) -> list[AttackRecord]:
    """All tripwires that were answered or stopped, in order, without those that the healthy guardrail answers."""
    return index.once("armed tripwires", lambda: _armed(index))


def _armed(index: Indexed) -> list[AttackRecord]:
    before = index.injected if index.injected is not None else float("inf")
    told = [record for record in index.attacks_in_order if _tripwire(record) and record.counted]
    dull = {
        (record.pack, record.prompt)
        for record in told
        if record.outcome.passed and index.attack_moment(record) < before
    }
    return [
        record
        for record in told
        if (record.outcome.passed or record.outcome.stopped) and (record.pack, record.prompt) not in dull
    ]


def open_spans(index: Indexed) -> list[Span]:
    """From each answered tripwire to the next that was stopped; the last one ends with the attacks."""
    return index.once("unguarded", lambda: _open_spans(index))


def _open_spans(index: Indexed) -> list[Span]:
    spans, start = [], None
    for record in armed(index):
        moment = index.attack_moment(record)
        if record.outcome.passed and start is None:
            start = moment
        elif not record.outcome.passed and start is not None:
            spans.append(Span(start, moment))
            start = None
    if start is not None:
        spans.append(Span(start, index.attack_moment(index.attacks_in_order[-1])))
    return spans


def since(index: Indexed, start: float, end: float) -> tuple[AttackRecord | None, list[AttackRecord]]:
    """The last prompt of that stretch that met an open or a closed guardrail, and the tripwires blocked after it."""
    known = {record.id for record in armed(index)}
    last: AttackRecord | None = None
    after: list[AttackRecord] = []
    for record in index.attacks_of(Span(start, end)):
        if not record.counted:
            continue
        closed = record.outcome is AttackOutcome.GUARD_ERROR or (_twin(record) and record.outcome.stopped)
        if closed or (record.id in known and record.outcome.passed):
            last, after = record, []
        elif record.id in known and record.outcome is AttackOutcome.BLOCKED:
            after.append(record)
    return last, after


def _tripwire(record: AttackRecord) -> bool:
    return record.kind is AttackKind.TRIPWIRE


def _twin(record: AttackRecord) -> bool:
    return record.kind is AttackKind.BENIGN and bool(record.twin)
