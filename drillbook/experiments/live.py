"""What a run asks of its own history while it grows: is an abort condition met, and is there anything to wait for?"""

from __future__ import annotations

from dataclasses import dataclass

from drillbook.experiments import evaluate
from drillbook.experiments.recall import recall
from drillbook.experiments.sentences import measured, wish
from drillbook.experiments.windows import LENGTH, STEP, Answer, ask
from drillbook.model.events import FaultChanged, FaultState, LoadTicked, Phase
from drillbook.model.expectation import Anchor, Expectation, Quantifier
from drillbook.model.history import History, Span
from drillbook.probes import clocks, registry
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind

BLIND_SECONDS = 10.0
"""An abort condition that could not be read for this long counts as met: who cannot see must not go on."""
STALLED = 2.0
"""Seconds without progress from which a request in flight may yet turn out to be hung."""


@dataclass(frozen=True)
class Live:
    """``met`` is None while too little was seen. ``detail`` says what was measured."""

    met: bool | None
    detail: str
    blind: bool = False
    """It could not be read for so long that the run must not go on."""


def live(history: History, expectation: Expectation, now: float) -> Live:
    """Whether a condition holds right now: throughout its ``for``, or over the last five seconds.

    Requests count when they end: what is still in flight is not known yet.
    """
    index = Indexed.of(history, live=True)
    probe = registry.lookup(expectation.probe, expectation.dimension)
    begun = index.lines[0].mono if index.lines else now
    hold = expectation.hold or (LENGTH if probe.kind is Kind.WINDOW else 0.0)
    if probe.kind is Kind.EVENT:
        happened = probe.read(index, Span(begun, now)).value is not None
        return Live(happened, f"{expectation.probe}: {'yes' if happened else 'not yet'}")
    if probe.kind is Kind.TOTAL:
        start = index.injected if index.injected is not None else begun
        return _said(index, expectation, [ask(index, probe, expectation, Span(start, now))])
    loaded = index.spans[Phase.BASELINE].start if Phase.BASELINE in index.spans else begun
    if now - hold < loaded:
        return Live(None, f"{expectation.probe}: watched for only {max(0.0, now - loaded):.1f}s")
    if probe.kind is Kind.LEVEL:
        window = Span(now - hold, now) if hold else Span(now - STEP, now)
        found = _said(index, expectation, [ask(index, probe, expectation, window)])
    else:
        count = max(0, int((hold - LENGTH) / STEP))
        windows = [Span(now - LENGTH - place * STEP, now - place * STEP) for place in range(count + 1)]
        found = _said(index, expectation, [ask(index, probe, expectation, window) for window in windows])
    if found.met is None and now - BLIND_SECONDS >= loaded:
        dark = ask(index, probe, expectation, Span(now - max(BLIND_SECONDS, hold), now)).reading
        if dark.value is None:
            return Live(
                None, f"{expectation.probe} could not be read for {BLIND_SECONDS:.0f}s: {dark.reason}", blind=True
            )
    return found


def _said(index: Indexed, wanted: Expectation, answers: list[Answer]) -> Live:
    if any(answer.holds is False for answer in answers):
        return Live(False, measured(index, wanted, answers[0], Quantifier.ONCE))
    if any(answer.holds is None for answer in answers):
        answer = next(answer for answer in answers if answer.holds is None)
        return Live(None, f"{wanted.probe}: {answer.reading.reason or 'no value'}")
    text = measured(index, wanted, answers[0], Quantifier.ONCE)
    return Live(True, f"{text}; the run ends at {wish(wanted)}")


def settled(history: History, now: float) -> bool:
    """Whether nothing that is expected *eventually* can change any more: each has happened for good, or is overdue.

    Never before every fault has shown whether it bit and is past its own ``for``, nor while a request is stalled, since
    what becomes of it decides. False where nothing is expected eventually: then the whole observation is wanted.
    """
    index = Indexed.of(history)
    experiment = recall(index)
    if experiment is None or not _faults_shown(index, now):
        return False
    undoing = Phase.UNDO in index.spans
    awaited = [wanted for wanted in experiment.expect if _awaited(wanted) and _now(wanted, undoing=undoing)]
    if not awaited:
        return undoing
    return all(_overdue(index, wanted, now) or _happened(index, wanted, now) for wanted in awaited)


def _awaited(wanted: Expectation) -> bool:
    return wanted.is_event or wanted.quantifier is Quantifier.EVENTUALLY


def _now(wanted: Expectation, *, undoing: bool) -> bool:
    """What counts from the undo is awaited after it, all else before."""
    late = (wanted.within is not None and wanted.anchor is Anchor.UNDO) or wanted.during in ("undo", "settle")
    return late is undoing


def _faults_shown(index: Indexed, now: float) -> bool:
    plan = index.plan
    if plan is None:
        return False
    shown = (FaultState.BIT, FaultState.NO_BITE, FaultState.REFUSED)
    seen = {event.id for _, event in index.events(FaultChanged) if event.state in shown}
    return all(fault.id in seen and now >= index.origin + fault.at + (fault.hold or 0.0) for fault in plan.faults)


def _overdue(index: Indexed, wanted: Expectation, now: float) -> bool:
    if wanted.within is None:
        return False
    anchor = evaluate.anchor_of(index, wanted.anchor)
    return anchor is not None and now > anchor + wanted.within + STEP


def _happened(index: Indexed, wanted: Expectation, now: float) -> bool:
    ticks = [event for _, event in index.events(LoadTicked)]
    if not ticks or ticks[-1].oldest > STALLED:
        return False
    probe = registry.lookup(wanted.probe, wanted.dimension)
    start = index.injected if index.injected is not None else index.origin
    if probe.kind is Kind.EVENT:
        # where nothing was lost so far, it may yet be: kubelets take their time to notice
        lost = clocks.turning_point(index) is not None or clocks.capacity_lost(index) is not None
        return probe.read(index, Span(start, now)).value is not None and (lost or wanted.probe == "detected")
    place = evaluate.frame(index, wanted, default=Span(start, now - STALLED))
    if isinstance(place, str) or place.span.length < (wanted.hold or LENGTH):
        return False
    return evaluate.finding(index, wanted, "expect", place).verdict.value == "held"
