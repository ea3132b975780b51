from __future__ import annotations

import pytest
from histories import Run, drill, hung, refused, served

from drillbook.errors import Exit
from drillbook.experiments import check
from drillbook.model.events import AbortTripped, FaultChanged, FaultState, UndoRecorded
from drillbook.model.judgement import Judgement
from drillbook.model.undo import DeleteObject, ObjectRef, UndoEntry
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict


def judged(expect: str, fate=lambda _: served(), **experiment) -> Finding:
    judgement = check.judge(drill(fate, expect=[expect], **experiment).history)
    (finding,) = [each for each in judgement.findings if each.role == "expect"]
    return finding


def broken(start: float, end: float):
    return lambda at: refused() if start <= at < end else served()


HELD, REFUTED, INCONCLUSIVE = Verdict.HELD, Verdict.REFUTED, Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("expect", "fate", "verdict"),
    [
        ("goodput >= 75%", broken(0, 8), HELD),
        ("goodput >= 85%", broken(0, 8), REFUTED),
        ("goodput >= 95% during baseline", broken(0, 8), HELD),
        ("goodput >= 95% during observe", broken(0, 8), REFUTED),
        ("always goodput >= 1%", broken(0, 8), REFUTED),
        ("always goodput >= 40%", broken(2, 4.5), HELD),
        ("sometimes goodput < 10%", broken(0, 8), HELD),
        ("sometimes goodput < 10%", broken(0, 0), REFUTED),
        ("sometimes goodput < 10% for 6s", broken(0, 8), HELD),
        ("sometimes goodput < 10% for 20s", broken(0, 8), REFUTED),
        ("eventually goodput >= 99%", broken(0, 8), HELD),
        ("goodput >= 99% within 9s", broken(0, 8), HELD),
        ("goodput >= 99% within 7s", broken(0, 8), REFUTED),
        ("goodput >= 99% for 10s within 9s", broken(0, 8), HELD),
        ("goodput >= 99% within 9s of inject", broken(5, 12), REFUTED),
        ("goodput >= 99% within 8s of effect", broken(5, 12), HELD),
        ("eventually goodput >= 99%", broken(30, 50), REFUTED),
        ("recovered within 9s", broken(0, 8), HELD),
        ("recovered within 7s", broken(0, 8), REFUTED),
        ("recovered within 30s", broken(0, 99), REFUTED),
        ("recovered within 60s", broken(0, 99), INCONCLUSIVE),
        ("recovered", broken(0, 8), HELD),
        ("recovered", broken(0, 99), REFUTED),
        ("recovered within 60s", broken(0, 38), HELD),
        ("recovered within 9s of effect", broken(3, 11), HELD),
        ("detected within 5s", broken(0, 8), REFUTED),
        ("green-while-broken < 5s", broken(0, 8), REFUTED),
        ("green-while-broken < 9s", broken(0, 8), HELD),
        ("time-to-recover < 9s", broken(0, 8), HELD),
        ("time-to-recover < 9s", broken(0, 99), REFUTED),
        ("time-to-recover < 90s", broken(0, 99), INCONCLUSIVE),
        ("tokens-lost == 0", broken(0, 8), REFUTED),
        ("always requests-failed <= 80", broken(0, 8), HELD),
        ("ttft.p99 < 1s", lambda at: hung() if 0 <= at < 8 else served(), REFUTED),
        ("ttft.p99 < 90s", lambda at: hung() if 0 <= at < 8 else served(), INCONCLUSIVE),
        ("always ready-engines >= 3", broken(0, 0), HELD),
    ],
)
def test_each_form_of_expectation_is_judged_as_it_reads(expect, fate, verdict):
    finding = judged(expect, fate)
    assert finding.verdict is verdict, finding.reason


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        ("goodput >= 85%", "goodput was 80% of 401 requests; at least 85% was wanted"),
        ("recovered within 7s", "recovered only 8.05s after inject; within 7s of inject was wanted"),
        ("always ready-engines == 3", "ready-engines was 2 between 5.0s and 9.0s; exactly 3 was wanted"),
        ("ready-engines == 3", "ready-engines was 2 at its lowest; exactly 3 was wanted"),
    ],
)
def test_a_finding_says_what_was_measured_and_what_was_wanted(expect, reason):
    run = drill(broken(0, 8), expect=[expect]).pod(5.0, "e0", ready=False).pod(9.0, "e0")
    if "recovered" in expect:
        run = drill(broken(0, 8), expect=[expect])
    (finding,) = [each for each in check.judge(run.history).findings if each.role == "expect"]
    assert (finding.verdict, finding.reason) == (Verdict.REFUTED, reason)


def test_levels_are_judged_to_the_moment_of_their_change():
    run = drill(expect=["ready-engines == 3 within 7s", "ready-engines == 3 within 6s"])
    run.pod(0.5, "e0", ready=False).pod(6.5, "e0")
    findings = [each.verdict for each in check.judge(run.history).findings if each.role == "expect"]
    assert findings == [Verdict.HELD, Verdict.REFUTED]


def test_a_share_carries_its_interval_its_samples_and_examples():
    finding = judged("goodput >= 85%", broken(0, 8))
    assert finding.interval[0] < 0.8 < finding.interval[1]
    assert (finding.samples, finding.limit, finding.dimension) == (401, 0.85, "share")
    assert finding.evidence[0] == "q100"


def test_a_run_is_judged_the_same_again():
    history = drill(broken(0, 8)).history
    assert check.judge(history) == check.judge(history)


def test_the_worst_finding_is_the_verdict_and_gives_its_reason():
    judgement = check.judge(drill(broken(0, 8), expect=["goodput >= 1%", "goodput >= 99%"]).history)
    assert judgement.verdict is Verdict.REFUTED
    assert judgement.reason.startswith("goodput was 80%")
    assert judgement.exit_code is Exit.REFUTED


def abort(at: float = 5.0, **kinds) -> Judgement:
    run = Run().start().pods().inject().load(broken(0, 8), end=at).health(end=at)
    run.add(at, AbortTripped(condition="goodput < 20% for 3s", detail="goodput was 0%"))
    return check.judge(run.end(at + 0.1, settle=0.5, **kinds).history)


def test_a_tripped_abort_condition_is_refuted_and_the_run_aborted():
    judgement = abort(status=RunStatus.ABORTED)
    assert (judgement.status, judgement.verdict) == (RunStatus.ABORTED, Verdict.REFUTED)
    assert judgement.reason == "aborted at 5.0s: goodput was 0%"
    assert abort().status is RunStatus.ABORTED


def test_an_abort_before_any_fault_convicts_nobody():
    run = Run().start().pods().load(lambda _: refused(), end=-2).add(-2, AbortTripped(condition="c", detail="d"))
    judgement = check.judge(run.end(-1.9, settle=0.1, status=RunStatus.ABORTED).history)
    assert (judgement.status, judgement.verdict) == (RunStatus.ABORTED, Verdict.INCONCLUSIVE)


def test_an_interrupted_run_holds_nothing_but_still_convicts():
    def cut(expect: str) -> Verdict:
        run = Run(expect=[expect]).start().pods().inject().load(broken(0, 8), end=20).health(end=20)
        return check.judge(run.end(20, settle=0.5, status=RunStatus.INTERRUPTED).history).verdict

    assert cut("goodput >= 10%") is Verdict.INCONCLUSIVE
    assert cut("recovered within 7s") is Verdict.REFUTED
    assert cut("eventually goodput >= 95% within 60s") is Verdict.INCONCLUSIVE


REF = ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="n", name="p", uid="u")
ENTRY = UndoEntry(id="0-pod-kill", fault="pod-kill", operations=(DeleteObject(object=REF),))


def test_a_dead_runner_leaves_its_undo_open_unless_it_was_closed():
    run = Run().start().add(-0.1, UndoRecorded(entry=ENTRY)).inject().load()
    judgement = check.judge(run.history)
    assert (judgement.status, judgement.undo, judgement.exit_code) == (
        RunStatus.CRASHED,
        UndoState.REMAINS,
        Exit.UNDO_FAILED,
    )
    run.add(5.0, FaultChanged(id="0-pod-kill", state=FaultState.UNDONE))
    assert check.judge(run.history).undo is UndoState.CLEAN
    assert check.judge(Run().start().history).undo is UndoState.NOTHING


@pytest.mark.parametrize("state", [FaultState.UNDOING, FaultState.UNDO_FAILED, FaultState.BIT])
def test_an_undo_that_was_begun_or_failed_when_the_runner_died_is_none(state):
    run = Run().start().add(-0.1, UndoRecorded(entry=ENTRY)).inject().load()
    run.add(5.0, FaultChanged(id="0-pod-kill", state=state))
    assert check.judge(run.history).undo is UndoState.REMAINS


def test_the_run_itself_tells_what_became_of_its_undo():
    judgement = check.judge(Run().start().pods().inject().load().health().end(undo=UndoState.REMAINS).history)
    assert (judgement.undo, judgement.exit_code) == (UndoState.REMAINS, Exit.UNDO_FAILED)


@pytest.mark.parametrize(("writer", "state", "undo"), [
    ("watchdog", FaultState.UNDONE, UndoState.CLEAN), ("recover", FaultState.SUPERSEDED, UndoState.CLEAN),
    ("recover", FaultState.UNDO_FAILED, UndoState.REMAINS), ("runner", FaultState.UNDONE, UndoState.REMAINS),
])  # fmt: skip
def test_what_a_run_left_behind_others_may_have_undone_since(writer, state, undo):
    run = Run().start().add(-0.1, UndoRecorded(entry=ENTRY)).pods().inject().load().health().end(undo=UndoState.REMAINS)
    run.add(99.0, FaultChanged(id="0-pod-kill", state=state), writer=writer)
    assert check.judge(run.history).undo is undo


def test_a_replacement_that_never_comes_is_refuted_though_users_were_served_again():
    run = drill(broken(0, 2), expect=["recovered within 20s of inject"])
    run.pod(0.1, "e0", ready=False)
    (finding,) = [each for each in check.judge(run.history).findings if each.role == "expect"]
    assert (finding.verdict, "fewer engines than desired were ready to the end" in finding.reason) == (REFUTED, True)
