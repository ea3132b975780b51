"""What a run asks of its own history while it grows: is an abort condition met, and is there anything to wait for?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from drillbook.experiments import attacks, evaluate
from drillbook.experiments.recall import recall
from drillbook.experiments.sentences import measured
from drillbook.experiments.windows import LENGTH, STEP, Answer, ask, holds
from drillbook.model.events import FaultChanged, FaultState, LoadTicked, Phase
from drillbook.model.expectation import Anchor, Expectation, Quantifier
from drillbook.model.history import History, Span
from drillbook.model.verdict import Verdict
from drillbook.probes import clocks, registry
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind
from drillbook.probes.suffering import HOLD_SECONDS, first_token

BLIND_SECONDS = 10.0
"""An abort condition that could not be read for this long counts as met: who cannot see must not go on. Users' own
patience is added, since what they got is not known before they give up."""
STALLED = 2.0
"""Seconds without progress from which a request in flight may yet turn out to be hung."""


@dataclass(frozen=True)
class Live:
    """``met`` is None while too little was seen. ``detail`` says what was measured."""

    met: bool | None
    detail: str


def baseline_problem(history: History, now: float) -> str:
    """Why the steady state does not hold in the baseline, and nothing may be injected; empty where it does."""
    index = Indexed.of(history)
    experiment = recall(index)
    if experiment is None or Phase.BASELINE not in index.spans:
        return "the journal has no baseline"
    oldest = _oldest(index)
    if oldest is not None and oldest > max(STALLED, index.stall_timeout / 2):
        return f"a request has shown no progress for {oldest:.1f}s"
    window = evaluate.Frame(Span(index.spans[Phase.BASELINE].start, now), None)
    findings = [evaluate.finding(index, wanted, "steady-state", window) for wanted in experiment.steady_state]
    return next((finding.reason for finding in findings if finding.verdict is not Verdict.HELD), "")


def steady(history: History, now: float) -> bool:
    """Whether the whole steady state is seen to hold right now, while the target warms up: the baseline may begin."""
    experiment = recall(Indexed.of(history, live=True))
    return experiment is not None and all(live(history, wanted, now).met for wanted in experiment.steady_state)


def tripped(history: History, condition: Expectation, now: float) -> str:
    """Why the run must end now, by one abort condition; empty while it may go on. Fails closed."""
    found = live(history, condition, now)
    return found.detail if found.met else _blind(history, condition, now) if found.met is None else ""


def live(history: History, expectation: Expectation, now: float) -> Live:
    """Whether a condition holds right now: throughout its ``for``, or over the last five seconds.

    Requests count when they end: what is still in flight is not known yet. A few samples are enough here.
    """
    index = Indexed.of(history, live=True)
    probe = registry.lookup(expectation.probe, expectation.dimension)
    begun = _begun(index, now)
    hold = expectation.hold or (LENGTH if probe.kind is Kind.WINDOW else STEP)
    if probe.kind is Kind.EVENT:
        happened = probe.read(index, Span(begun, now)).value is not None
        return Live(happened, f"{expectation.probe}: {'yes' if happened else 'not yet'}")
    if probe.kind is Kind.TOTAL:
        windows = [Span(index.injected if index.injected is not None else begun, now)]
    elif now - hold < begun:
        return Live(None, f"{expectation.probe}: watched for only {max(0.0, now - begun):.1f}s")
    elif probe.kind is Kind.LEVEL:
        windows = [Span(now - hold, now)]
    else:
        starts = range(max(0, int((hold - LENGTH) / STEP)) + 1)
        windows = [Span(now - min(hold, LENGTH) - place * STEP, now - place * STEP) for place in starts]
    answers = [_lenient(ask(index, probe, expectation, window), expectation) for window in windows]
    if any(answer.holds is False for answer in answers):
        return Live(False, measured(index, expectation, answers[0], Quantifier.ONCE))
    dark = next((answer for answer in answers if answer.holds is None), None)
    if dark is not None:
        return Live(None, f"{expectation.probe}: {dark.reading.reason or 'no value'}")
    return Live(True, measured(index, expectation, answers[0], Quantifier.ONCE))


def _lenient(answer: Answer, wanted: Expectation) -> Answer:
    """An alarm does not wait for enough samples; a reading that failed is none."""
    if answer.holds is not None or answer.reading.at_least or answer.reading.failed:
        return answer
    return replace(answer, holds=holds(replace(answer.reading, complete=True), wanted))


def _begun(index: Indexed, now: float) -> float:
    if Phase.BASELINE in index.spans:
        return index.spans[Phase.BASELINE].start
    return index.lines[0].mono if index.lines else now


def _blind(history: History, condition: Expectation, now: float) -> str:
    index = Indexed.of(history, live=True)
    probe = registry.lookup(condition.probe, condition.dimension)
    patience = max(BLIND_SECONDS, condition.hold or 0.0)
    if probe.kind is not Kind.LEVEL:
        patience += index.stall_timeout
    since = now - patience
    if probe.kind is Kind.EVENT or since < _begun(index, now):
        return ""
    reading = probe.read(index, Span(since, now))
    readable = reading.value is not None and not reading.failed
    return "" if readable else f"{condition.probe} could not be read for {patience:.0f}s: {reading.reason}"


def settled(history: History, now: float) -> bool:
    """Whether nothing that is expected *eventually* can change any more: each has happened for good, or is overdue;
    a recovery is waited for to the end of the observation.

    Never before every fault has shown whether it bit and is past its own ``for``, nor while a request is stalled, since
    what becomes of it decides. False where nothing is expected eventually: then the whole observation is wanted.
    """
    index = Indexed.of(history)
    experiment = recall(index)
    if experiment is None or not _faults_shown(index, now):
        return False
    undoing = Phase.UNDO in index.spans
    awaited = [wanted for wanted in experiment.expect if _awaited(wanted) and _now(index, wanted, undoing=undoing)]
    if not awaited:
        return undoing
    if not undoing and any(_thin(index, wanted, now) for wanted in experiment.expect):
        return False
    return all(_overdue(index, wanted, now) or _happened(index, wanted, now) for wanted in awaited)


def _awaited(wanted: Expectation) -> bool:
    return wanted.is_event or wanted.quantifier is Quantifier.EVENTUALLY


def _thin(index: Indexed, wanted: Expectation, now: float) -> bool:
    """Whether what is asked of the observation alone, or of the guardrail, still has too few samples to be said."""
    if _awaited(wanted) or wanted.during in ("undo", "settle"):
        return False
    observed = wanted.during == Phase.OBSERVE.value
    if not observed and not attacks.asks(wanted):
        return False
    start = index.injected if index.injected is not None else index.origin
    if observed and Phase.OBSERVE in index.spans:
        start = index.spans[Phase.OBSERVE].start
    return not registry.lookup(wanted.probe, wanted.dimension).read(index, Span(start, now)).complete


def _now(index: Indexed, wanted: Expectation, *, undoing: bool) -> bool:
    """What counts from the undo is awaited after it, all else before. A held fault's own undo comes early."""
    if wanted.during in ("undo", "settle"):
        return undoing
    if wanted.within is None or wanted.anchor is not Anchor.UNDO:
        return not undoing
    return undoing or evaluate.anchor_of(index, Anchor.UNDO) is not None


def _faults_shown(index: Indexed, now: float) -> bool:
    plan = index.plan
    if plan is None:
        return False
    shown = (FaultState.BIT, FaultState.NO_BITE, FaultState.REFUSED)
    seen = {event.id for _, event in index.events(FaultChanged) if event.state in shown}
    return all(fault.id in seen and now >= index.origin + fault.at + (fault.hold or 0.0) for fault in plan.faults)


def _overdue(index: Indexed, wanted: Expectation, now: float) -> bool:
    """Whether it can only be late by now. A recovery that is late is watched on: how late it was is worth knowing."""
    if wanted.within is None or (wanted.probe == "recovered" and _lost(index)):
        return False
    anchor = evaluate.anchor_of(index, wanted.anchor)
    if anchor is None or now <= anchor + wanted.within + STEP:
        return False
    return not (wanted.is_event and not _instant(wanted) and _proving(index, anchor + wanted.within))


def _lost(index: Indexed) -> bool:
    return clocks.turning_point(index) is not None or clocks.capacity_lost(index) is not None


def _instant(wanted: Expectation) -> bool:
    """An event that has nothing to prove once it happened."""
    return wanted.probe == "detected" or bool(wanted.alert)


def _proving(index: Indexed, deadline: float) -> bool:
    """Whether service came back in time, and has yet to show that it lasts."""
    outage = clocks.turning_point(index)
    if outage is None or outage.back is None:
        return False
    return outage.watched < HOLD_SECONDS and first_token(outage.back) <= deadline


def _oldest(index: Indexed) -> float | None:
    """Seconds since the last progress of the request that has waited longest, as each generator told last."""
    last = {line.writer: tick.oldest for line, tick in index.events(LoadTicked)}
    return max(last.values(), default=None)


def _happened(index: Indexed, wanted: Expectation, now: float) -> bool:
    oldest = _oldest(index)
    if oldest is None or oldest > STALLED:
        return False
    probe = registry.lookup(wanted.probe, wanted.dimension)
    start = index.injected if index.injected is not None else index.origin
    if probe.kind is Kind.EVENT:
        # where nothing was lost so far, it may yet be: kubelets take their time to notice
        lost = _lost(index)
        moment = probe.read(index, Span(start, now)).value
        if moment is None or _instant(wanted):
            return moment is not None
        return lost and moment + HOLD_SECONDS <= now
    place = evaluate.frame(index, wanted, default=Span(start, now - STALLED))
    if isinstance(place, str) or place.span.length < (wanted.hold or LENGTH):
        return False
    return evaluate.finding(index, wanted, "expect", place).verdict is Verdict.HELD
