"""What the adversarial prompts beside the load met, phase by phase, and whether a difference from the baseline is real.

Only where attacks ran. Prompts and answers are anyone's words: cut short here, escaped by the templates.
"""

from __future__ import annotations

from collections import Counter

import msgspec

from drillbook.model.attack import AttackKind, AttackOutcome, AttackRecord
from drillbook.model.events import Phase
from drillbook.model.history import Span
from drillbook.probes import guardrail, standing
from drillbook.probes.exact import SURE, fisher
from drillbook.probes.guardrail import LEAKS, Share
from drillbook.probes.index import Indexed
from drillbook.reports.intervals import Interval, newcombe, wilson

LONGEST = 140
"""Characters of a prompt or an answer that a report shows."""
UNDER_FAULT = "under fault"
MOST = 8
"""Examples."""
_WORST = (
    AttackOutcome.LEAKED,
    AttackOutcome.PARTIAL_LEAK,
    AttackOutcome.UNGUARDED,
    AttackOutcome.DETECTED,
    AttackOutcome.COMPLIED,
    AttackOutcome.GUARD_ERROR,
    AttackOutcome.BLOCKED,
    AttackOutcome.REFUSED,
)


class GuardFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One share in one phase. ``p`` is of Fisher's exact test against the baseline, None for the baseline itself."""

    name: str
    hits: int
    total: int
    value: float | None
    interval: Interval
    enough: bool
    """Whether there were prompts enough to say anything."""
    difference: Interval | None = None
    """95 % interval of the difference from the baseline."""
    p: float | None = None
    real: bool = False


class GuardPhase(msgspec.Struct, frozen=True, kw_only=True):
    """One row, seconds after time zero."""

    name: str
    start: float
    end: float
    total: int
    outcomes: dict[str, int]
    """Only those that occurred."""
    leaks: int
    figures: tuple[GuardFigure, ...]


class GuardBin(msgspec.Struct, frozen=True, kw_only=True):
    """The prompts of one stretch of the chart, by what they came to."""

    start: float
    counts: dict[str, int]


class GuardExample(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of outcome, with a prompt that shows it."""

    kind: AttackKind
    outcome: AttackOutcome
    signal: str
    count: int
    prompt: str
    """Pack and id."""
    asked: str
    excerpt: str
    at: float
    owasp: tuple[str, ...]
    atlas: tuple[str, ...]


class GuardrailFacts(msgspec.Struct, frozen=True, kw_only=True):
    phases: tuple[GuardPhase, ...]
    leaks: int
    unguarded_seconds: float
    unguarded: tuple[tuple[float, float], ...]
    """From each answered tripwire to the next that was stopped, seconds after time zero."""
    holds_again: float | None
    """Seconds after time zero; None where it was not seen to hold again."""
    holds_again_why: str
    width: float
    bins: tuple[GuardBin, ...]
    examples: tuple[GuardExample, ...]
    redacted: bool

    def figure(self, name: str, phase: str) -> GuardFigure | None:
        """One share in one phase."""
        rows = (figure for row in self.phases if row.name == phase for figure in row.figures)
        return next((figure for figure in rows if figure.name == name), None)


def guardrails(index: Indexed, *, width: float) -> GuardrailFacts | None:
    """None where no attacks ran. ``width`` is that of the charts' bins, in seconds."""
    if not index.attacks:
        return None
    again = guardrail.HoldsAgain().read(index, Span(index.origin, index.end))
    spans = standing.open_spans(index)
    return GuardrailFacts(
        phases=_phases(index),
        leaks=sum(record.outcome in LEAKS for record in index.attacks),
        unguarded_seconds=sum(span.length for span in spans),
        unguarded=tuple((index.relative(span.start), index.relative(span.end)) for span in spans),
        holds_again=None if again.value is None else index.relative(again.value),
        holds_again_why=again.reason,
        width=width,
        bins=_bins(index, width),
        examples=_examples(index),
        redacted=not any(record.asked for record in index.attacks),
    )


def _phases(index: Indexed) -> tuple[GuardPhase, ...]:
    """Three rows: the baseline, the fault, and what came after drillbook's undo."""
    spans = index.spans
    if Phase.BASELINE not in spans:
        return ()
    injected = index.injected if index.injected is not None else spans[Phase.BASELINE].end
    end = spans[Phase.VERIFY].start if Phase.VERIFY in spans else index.end
    rows = [
        ("baseline", Span(spans[Phase.BASELINE].start, injected)),
        (UNDER_FAULT, Span(injected, index.watched_until)),
        ("afterwards", Span(index.watched_until, end)),
    ]
    shares = [probe for probe in guardrail.PROBES if isinstance(probe, Share)]
    base = {share.name: _count(index, share, rows[0][1]) for share in shares}
    return tuple(
        GuardPhase(
            name=name,
            start=index.relative(span.start),
            end=index.relative(span.end),
            total=len(index.attacks_of(span)),
            outcomes=dict(Counter(record.outcome.value for record in index.attacks_of(span))),
            leaks=sum(record.outcome in LEAKS for record in index.attacks_of(span)),
            figures=tuple(_figure(index, share, span, None if not place else base[share.name]) for share in shares),
        )
        for place, (name, span) in enumerate(rows)
        if span.length
    )


def _count(index: Indexed, share: Share, span: Span) -> tuple[int, int]:
    found = share.among(index, span)
    return sum(map(share.hit, found)), len(found)


def _figure(index: Indexed, share: Share, span: Span, base: tuple[int, int] | None) -> GuardFigure:
    hits, total = _count(index, share, span)
    p = fisher(hits, total, *base) if base is not None and base[1] and total else None
    return GuardFigure(
        name=share.name.removeprefix(guardrail.PREFIX),
        hits=hits,
        total=total,
        value=hits / total if total else None,
        interval=wilson(hits, total),
        enough=total >= share.min_samples,
        difference=newcombe(hits, total, *base) if p is not None and base is not None else None,
        p=p,
        real=p is not None and p < SURE and total >= share.min_samples,
    )


def _bins(index: Indexed, width: float) -> tuple[GuardBin, ...]:
    shelves: dict[int, Counter[str]] = {}
    for record in index.attacks_in_order:
        place = int(index.relative(index.attack_moment(record)) // width)
        shelves.setdefault(place, Counter())[fate(record)] += 1
    return tuple(GuardBin(start=place * width, counts=dict(shelves[place])) for place in sorted(shelves))


FATES = {
    "ok": "stopped",
    "answered": "honest, answered",
    "shed": "no verdict",
    "hung": "honest, kept back",
    "truncated": "let through",
    "failed": "leaked",
    "unknown": "failed on the way",
}
"""What a chart tells apart, by the class of its colour."""


def fate(record: AttackRecord) -> str:
    """The key of ``FATES`` that a prompt belongs to."""
    benign = record.kind is AttackKind.BENIGN
    if record.outcome in LEAKS:
        return "failed"
    if not guardrail.tells(record):
        return "unknown"
    if benign:
        return "answered" if record.outcome.passed and record.outcome is not AttackOutcome.REFUSED else "hung"
    if record.outcome is AttackOutcome.GUARD_ERROR:
        return "shed"
    if record.outcome in (AttackOutcome.BLOCKED, AttackOutcome.REFUSED):
        return "truncated" if record.kind is AttackKind.TRIPWIRE and record.outcome.passed else "ok"
    return "truncated"


def _examples(index: Indexed) -> tuple[GuardExample, ...]:
    """The worst first; what an honest prompt was answered is nothing to show."""
    told = [record for record in index.attacks_in_order if guardrail.tells(record) and fate(record) != "answered"]
    kinds = Counter((record.kind, record.outcome, record.signal) for record in told)
    first = {(record.kind, record.outcome, record.signal): record for record in reversed(told)}
    ordered = sorted(kinds, key=lambda key: (_WORST.index(key[1]), -kinds[key]))
    return tuple(_example(index, first[key], kinds[key]) for key in ordered[:MOST])


def _example(index: Indexed, record: AttackRecord, count: int) -> GuardExample:
    return GuardExample(
        kind=record.kind,
        outcome=record.outcome,
        signal=record.signal,
        count=count,
        prompt=f"{record.pack} {record.prompt}",
        asked=_cut(record.asked),
        excerpt=_cut(record.excerpt),
        at=index.relative(index.attack_moment(record)),
        owasp=record.owasp,
        atlas=record.atlas,
    )


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
