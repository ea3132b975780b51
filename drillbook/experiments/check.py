"""Judges a run from its journal alone: first whether it is valid, then what it found. Pure: the journal decides.

Only a valid expectation can be refuted. Where the baseline did not hold, a fault did not bite or the measurement is not
to be believed, every expectation is inconclusive whatever its value.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drillbook.experiments import attacks, evaluate, journal, validity
from drillbook.experiments.live import baseline_problem, settled, tripped
from drillbook.experiments.recall import recall
from drillbook.model.events import AbortTripped, FaultChanged, FaultState, Phase, UndoRecorded
from drillbook.model.expectation import Expectation
from drillbook.model.experiment import Experiment
from drillbook.model.history import History, Span
from drillbook.model.judgement import Judgement
from drillbook.model.undo import EntryState
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict
from drillbook.probes import clocks
from drillbook.probes.index import Indexed

__all__ = ["baseline_problem", "judge", "settled", "tripped"]


def judge(history: History) -> Judgement:
    """The verdict on a run, with every finding that it rests on."""
    index = Indexed.of(history)
    status, undo = status_of(index), undo_of(index)
    experiment = recall(index)
    if experiment is None:
        reason = index.damage[0] if index.damage else "the journal does not tell what was run"
        findings = [validity.check("the journal is whole", reason)]
    else:
        findings = _findings(index, experiment, status)
    verdict = Verdict.worst(finding.verdict for finding in findings)
    return Judgement(
        status=status,
        undo=undo,
        verdict=verdict,
        reason=_reason(findings, verdict),
        findings=tuple(findings),
        clocks=clocks.read(index),
    )


def status_of(history: History) -> RunStatus:
    """What became of the run; a journal without an end is that of a runner that died."""
    ended = history.ended
    if ended is None:
        return RunStatus.CRASHED
    tripped = any(True for _ in history.events(AbortTripped))
    return RunStatus.ABORTED if tripped and ended.status is RunStatus.COMPLETED else ended.status


def undo_of(history: History) -> UndoState:
    """What became of the changes: as the run told at its end, else by the entries that were never closed.

    What a run had to leave behind, its watchdog or ``recover`` may have undone since.
    """
    ended = history.ended
    if ended is not None and ended.undo is not UndoState.REMAINS:
        return ended.undo
    entries = {event.entry.id: event.entry for _, event in history.events(UndoRecorded)}
    told = [(line.writer, event) for line, event in history.events(FaultChanged)]
    states = {event.id: event.state for writer, event in told if ended is None or writer in journal.UNDOERS}
    closed = (FaultState.UNDONE, FaultState.SUPERSEDED, FaultState.REFUSED)
    remaining = [
        entry
        for entry in entries.values()
        if entry.operations
        and entry.state in (EntryState.ARMED, EntryState.FAILED)
        and states.get(entry.id) not in closed
    ]
    if remaining or FaultState.UNDO_FAILED in states.values() or (ended is not None and not states):
        return UndoState.REMAINS
    return UndoState.CLEAN if entries else UndoState.NOTHING


def _findings(index: Indexed, experiment: Experiment, status: RunStatus) -> list[Finding]:
    measured = validity.measurement(index, experiment)
    attacked = attacks.measurement(index, experiment)
    bit = validity.bites(index) + _expected_bites(index, experiment)
    steady = [_steady(index, wanted) for wanted in experiment.steady_state]
    aborts = [_abort(index, line.mono, event) for line, event in index.events(AbortTripped)]
    unbelievable = _first_doubt(measured)
    aborts = [_doubted(finding, unbelievable) for finding in aborts]
    doubt = unbelievable or _first_doubt(steady) or _first_doubt(bit)
    blind = doubt or _first_doubt(attacked)
    expected = [
        _expectation(index, wanted, status, blind if attacks.asks(wanted) else doubt) for wanted in experiment.expect
    ]
    return [*steady, *bit, *expected, *aborts, *measured, *attacked]


def _steady(index: Indexed, wanted: Expectation) -> Finding:
    """The steady state is no promise of the target's but a condition of the drill: missed, it convicts nobody."""
    baseline = index.spans.get(Phase.BASELINE)
    if baseline is None:
        found = evaluate.finding(index, wanted, "steady-state", "there was no baseline")
    else:
        until = index.injected if index.injected is not None else baseline.end
        place = evaluate.Frame(Span(baseline.start, min(baseline.end, until)), None)
        found = evaluate.finding(index, wanted, "steady-state", place)
    if found.verdict is not Verdict.REFUTED:
        return found
    return msgspec.structs.replace(
        found, verdict=Verdict.INCONCLUSIVE, reason=f"the steady state did not hold before the fault: {found.reason}"
    )


def _expected_bites(index: Indexed, experiment: Experiment) -> list[Finding]:
    """The ``bites`` of each step, asked from its injection to its undo."""
    found: list[Finding] = []
    plan = index.plan
    faults = plan.faults if plan else ()
    for place, step in enumerate(experiment.method):
        if step.bites is None:
            continue
        name = faults[place].id if place < len(faults) else None
        begun = index.fault_moment(FaultState.INJECTING, name) if name else None
        if begun is None:
            finding = evaluate.finding(index, step.bites, "bite", "the fault was never injected")
        else:
            undone = index.fault_moment(FaultState.UNDOING, name)
            window = Span(begun, min(undone or index.watched_until, index.watched_until))
            frame = evaluate.frame(index, step.bites, default=window)
            finding = _news(index, step.bites, evaluate.finding(index, step.bites, "bite", frame))
        if finding.verdict is Verdict.REFUTED:
            reason = f"the fault did not bite: {finding.reason}"
            finding = msgspec.structs.replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)
        found.append(finding)
    return found


def _news(index: Indexed, bite: Expectation, finding: Finding) -> Finding:
    """What was so before the fault already proves nothing of it."""
    baseline = index.spans.get(Phase.BASELINE)
    if finding.verdict is not Verdict.HELD or baseline is None:
        return finding
    before = evaluate.finding(index, bite, "bite", evaluate.Frame(baseline, None))
    if before.verdict is not Verdict.HELD:
        return finding
    reason = f"it proves nothing, because it was so before the fault: {before.reason}"
    return msgspec.structs.replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _abort(index: Indexed, moment: float, event: AbortTripped) -> Finding:
    broken = index.injected is not None and index.injected <= moment
    reason = f"aborted at {index.relative(moment):.1f}s: {event.detail or event.condition}"
    return Finding(
        expectation=event.condition,
        role="abort-when",
        verdict=Verdict.REFUTED if broken else Verdict.INCONCLUSIVE,
        reason=reason if broken else f"{reason}, before any fault was injected",
    )


def _expectation(index: Indexed, wanted: Expectation, status: RunStatus, doubt: str) -> Finding:
    start = index.injected if index.injected is not None else index.origin
    cut = status is not RunStatus.COMPLETED
    place = evaluate.frame(index, wanted, default=Span(start, index.watched_until), ended_early=cut)
    return _doubted(evaluate.finding(index, wanted, "expect", place), doubt)


def _first_doubt(findings: Sequence[Finding]) -> str:
    return next((finding.reason for finding in findings if finding.verdict is not Verdict.HELD), "")


def _doubted(finding: Finding, doubt: str) -> Finding:
    """What a finding is worth where the run is not valid: nothing, whatever its value."""
    if not doubt or finding.verdict is Verdict.INCONCLUSIVE:
        return finding
    reason = f"{finding.reason}; but {doubt}"
    return msgspec.structs.replace(finding, verdict=Verdict.INCONCLUSIVE, reason=reason)


def _reason(findings: Sequence[Finding], verdict: Verdict) -> str:
    """The first finding that decided; a doubt about the run itself comes before what it made doubtful."""
    deciding = [finding for finding in findings if finding.verdict is verdict]
    if verdict is Verdict.HELD:
        count = sum(finding.role == "expect" for finding in findings)
        return f"all {count} expectations held" if count > 1 else deciding[0].reason if not count else _only(findings)
    order = ("validity", "steady-state", "bite", "abort-when", "expect")
    return min(deciding, key=lambda finding: order.index(finding.role)).reason


def _only(findings: Sequence[Finding]) -> str:
    return next(finding.reason for finding in findings if finding.role == "expect")
