"""One test a way in which a run could look good without having shown anything. None of them may end ``held``."""

from __future__ import annotations

import math

import pytest
from histories import Run, drill, refused, served

from drillbook.experiments import check
from drillbook.load.locust.config import SATURATED
from drillbook.model.events import FaultChanged, FaultState, Noted, Phase, PhaseStarted, RunEnded, RunStarted
from drillbook.model.history import History
from drillbook.model.judgement import Judgement
from drillbook.model.verdict import RunStatus, Verdict

EASY = ["goodput >= 1%", "recovered within 30s"]
"""Expectations that hold in every one of these runs, if only their values were looked at."""


def inconclusive(run: Run, *, because: str) -> Judgement:
    judgement = check.judge(run.history)
    assert judgement.verdict is Verdict.INCONCLUSIVE, judgement.reason
    assert because in judgement.reason
    assert not any(finding.verdict is Verdict.HELD for finding in judgement.findings if finding.role == "expect")
    return judgement


def test_the_run_that_all_others_spoil_holds():
    assert check.judge(drill(expect=EASY).history).verdict is Verdict.HELD


def test_the_fault_was_refused():
    run = Run(expect=EASY).start().pods().load().health()
    run.add(0.0, PhaseStarted(phase=Phase.INJECT)).add(0.0, FaultChanged(id="0-pod-kill", state=FaultState.INJECTING))
    run.add(0.1, FaultChanged(id="0-pod-kill", state=FaultState.REFUSED, detail="403 Forbidden")).end()
    inconclusive(run, because="the target refused the fault: 403 Forbidden")


def test_nothing_was_selected():
    inconclusive(
        Run(expect=EASY).start(faults=()).pods().inject().load().health().end(), because="nothing was selected"
    )


def test_the_fault_did_not_bite():
    inconclusive(drill(expect=EASY, proof=FaultState.NO_BITE), because="the fault did not bite")


def test_nobody_saw_the_fault_bite():
    inconclusive(drill(expect=EASY, proof=None), because="nobody saw it take effect")


def test_the_second_of_two_faults_was_never_injected():
    run = Run(expect=EASY, method=[{"fault": "pod-kill"}, {"fault": "process-hang"}])
    run.start(faults=("0-pod-kill", "1-process-hang")).pods().inject().load().health().end()
    inconclusive(run, because="it was never injected")


def test_the_bite_that_the_experiment_asked_for_was_not_seen():
    run = drill(expect=EASY, method=[{"fault": "pod-kill", "bites": "ready-engines < 3"}])
    inconclusive(run, because="the fault did not bite: ready-engines was 3")


def test_the_bite_that_the_experiment_asked_for_holds_for_a_moment_of_the_fault():
    run = drill(expect=EASY, method=[{"fault": "pod-kill", "bites": "ready-engines < 3"}])
    run.pod(1.0, "e0", ready=False).pod(2.0, "e0")
    assert check.judge(run.history).verdict is Verdict.HELD


def test_a_bite_that_was_there_before_the_fault_proves_nothing():
    run = drill(expect=EASY, method=[{"fault": "pod-kill", "bites": "ready-engines < 9"}])
    run.pod(1.0, "e0", ready=False).pod(2.0, "e0")
    inconclusive(run, because="it proves nothing, because it was so before the fault")


def test_an_engine_too_few_is_a_bite_however_many_there_are():
    run = drill(expect=EASY, method=[{"fault": "pod-kill", "bites": "missing-engines >= 1"}])
    run.pod(1.0, "e0", ready=False).pod(2.0, "e0")
    assert check.judge(run.history).verdict is Verdict.HELD


def test_the_pod_was_dead_before_the_fault():
    run = Run(
        expect=EASY, method=[{"fault": "pod-kill", "bites": "ready-engines < 3"}], steady_state=["ready-engines == 3"]
    )
    run.start().pods().pod(-5, "e0", ready=False).inject().load().health().end()
    inconclusive(run, because="the steady state did not hold before the fault")


def test_the_steady_state_did_not_hold_before_the_fault():
    run = drill(lambda at: refused() if -5 < at < 0 else served(), expect=EASY)
    inconclusive(run, because="the steady state did not hold before the fault: goodput was 51% of 100")


def test_there_was_no_baseline():
    run = drill(expect=EASY)
    run.lines = [line for line in run.lines if getattr(line.event, "phase", None) is not Phase.BASELINE]
    inconclusive(run, because="there was no baseline")


def test_the_run_was_too_short_for_its_quantiles():
    run = drill(expect=["ttft.p99 < 10s during inject"])
    inconclusive(run, because="samples, and 100 are needed")


def test_no_request_was_sent():
    inconclusive(Run(expect=EASY).start().pods().inject().ticks().health().end(), because="no request was sent")


def test_no_request_was_sent_after_the_fault():
    run = Run(expect=EASY).start().pods().inject().load(end=0.0, ticks=False).ticks().health().end()
    inconclusive(run, because="requests")


def test_the_load_generator_lagged():
    run = Run(expect=EASY).start().pods().inject().load(lag=0.2).health().end()
    inconclusive(run, because="the load generator lagged: 200ms at the 99th percentile, 50ms allowed")


def test_a_lagging_generator_convicts_nobody():
    run = Run(expect=["ttft.p95 < 100ms"]).start().pods().inject().load(lag=0.2).health().end()
    finding = next(each for each in inconclusive(run, because="lagged").findings if each.role == "expect")
    assert "ttft.p95 was 250ms" in finding.reason
    assert finding.reason.endswith("50ms allowed")


def test_the_load_generator_stood_still_once():
    run = drill(expect=EASY)
    late = run.requests[200]
    run.requests[200] = type(late)(**{f: getattr(late, f) for f in late.__struct_fields__} | {"sent": late.sent + 0.8})
    inconclusive(run, because="the load generator stood still")


def test_the_load_generator_gave_no_sign_of_life_for_a_while():
    run = Run(expect=EASY).start().pods().inject().load(ticks=False).health().ticks(-10, 8).ticks(14, 45).end()
    inconclusive(run, because="gave no sign of life for 6.0s from 8.0s on")


def test_a_generator_said_that_it_is_saturated():
    run = drill(expect=EASY)
    run.add(12.0, Noted(actor="load-2", text=f"{SATURATED}: load-2 used 97% of a core"), writer="load-2")
    inconclusive(run, because="saturated: load-2 used 97% of a core")


def test_requests_are_missing_on_the_record():
    run = Run(expect=EASY).start().pods().inject().load(rate=6.0).health().end()
    inconclusive(run, because="requests are on record")


@pytest.mark.parametrize("damage", ["requests-0.jsonl:9: torn last line", "journal.jsonl:3: 2 lines are missing"])
def test_the_journal_is_damaged(damage):
    run = drill(expect=EASY)
    run.damage.append(damage)
    inconclusive(run, because=damage)


def test_the_journal_ends_in_the_middle_of_the_run():
    run = drill(expect=EASY)
    run.lines = [line for line in run.lines if not isinstance(line.event, RunEnded)]
    run.damage.append("journal.jsonl: no run-ended: the runner died, or is still running")
    assert inconclusive(run, because="no run-ended").status == "crashed"


def test_the_journal_has_no_beginning():
    run = drill(expect=EASY)
    run.lines = [line for line in run.lines if not isinstance(line.event, RunStarted)]
    inconclusive(run, because="does not tell what was run")


def test_the_journal_tells_an_experiment_that_makes_no_sense():
    inconclusive(drill(expect=["goodput is nice"]), because="does not tell what was run")


def test_an_empty_journal():
    assert check.judge(History()).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("step", [-3600.0, 30.0], ids=["set back", "suspended"])
def test_the_clock_jumped(step):
    run = drill(expect=EASY)
    run.add(20.0, PhaseStarted(phase=Phase.OBSERVE), wall=step)
    inconclusive(run, because="the wall clock jumped")


def test_the_answers_came_from_a_cache():
    run = drill(expect=EASY).observe(
        "vllm:iteration_tokens_total_count", {float(at): 72.0 for at in range(-9, 40)}, replica="e0"
    )
    inconclusive(run, because="no engine made a step")


def test_engines_that_worked_made_the_answers():
    steps = {float(at): 72.0 + at for at in range(-9, 40)}
    run = drill(expect=EASY).observe("vllm:iteration_tokens_total_count", steps, replica="e0")
    assert check.judge(run.history).verdict is Verdict.HELD


SERIES = {float(at): 0.0 for at in range(-9, 41)}


@pytest.mark.parametrize(
    "series",
    [
        {},
        {at: (None if at > 5 else 0.0) for at in SERIES},
        {at: (math.nan if at == 20 else 0.0) for at in SERIES},
        {at: 0.0 for at in SERIES if at < 5},
        {at: 0.0 for at in SERIES if not 10 < at < 20},
        {at: 0.0 for at in SERIES if at > 20},
    ],
    ids=["empty", "raised from then on", "NaN", "stale", "partial", "late"],
)
def test_a_probe_gave_nothing_or_not_enough(series):
    run = drill(expect=["always leaks == 0"]).observe("leaks", series, error="RuntimeError: boom")
    inconclusive(run, because="leaks")


def test_a_probe_that_saw_it_fail_convicts_although_it_failed_itself_later():
    series = SERIES | {15.0: 1.0, 30.0: None}
    run = drill(expect=["always leaks == 0"]).observe("leaks", series, error="boom")
    assert check.judge(run.history).verdict is Verdict.REFUTED


def test_recovery_through_the_undo_is_none():
    run = drill(lambda at: refused() if 0 <= at < 40 else served(), expect=["recovered within 60s"])
    run.lines = [line for line in run.lines if line.mono < 1040.0]
    run.load(start=45, end=60, ticks=False).ticks(46, 60).end(40.0, settle=20.0)
    inconclusive(run, because="when drillbook had begun to undo")


def test_an_instrument_failed():
    """What it last saw would pass for what was there until the end."""
    run = drill(expect=EASY)
    run.add(3.0, Noted(actor="instrument", text="an instrument failed: KeyError: 'status'"))
    run.lines.sort(key=lambda line: line.mono)
    inconclusive(run, because="an instrument failed: KeyError: 'status' (at 3.0s)")


def test_a_recovery_that_nobody_needed_was_not_seen_in_a_run_that_was_cut_short():
    """No user was harmed yet when it ended: they may have been a second later."""
    run = Run(expect=["recovered within 30s"]).start().pods().inject().load(end=15).health(end=15)
    run.end(15, settle=0.5, status=RunStatus.INTERRUPTED)
    inconclusive(run, because="the run was ended early, and the rest was not seen")


def test_a_recovery_without_a_deadline_may_yet_have_come_when_the_run_was_cut_short():
    run = Run(expect=["recovered"]).start().pods().inject().load(lambda at: refused() if at >= 0 else served(), end=9)
    run.health(end=9).end(9, settle=0.5, status=RunStatus.INTERRUPTED)
    inconclusive(run, because="when the run was ended early")


def test_a_stretch_without_length_says_nothing():
    run = Run(expect=["always ready-engines >= 1 during settle"]).start().pods().inject().load().health()
    inconclusive(run.end(settle=0.1), because="that stretch has no length")
