"""Rollouts and rollbacks on histories whose every moment is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from histories import ZERO, Run, served

from drillbook.model.events import AlertChanged, AlertState, FaultChanged, FaultState, ObjectChanged, Planned
from drillbook.model.history import Span
from drillbook.model.undo import ObjectRef
from drillbook.probes import clocks, signals
from drillbook.probes.index import Indexed
from drillbook.probes.registry import PROBES
from drillbook.reports.rollout import rollout_facts

WHOLE = Span(ZERO, ZERO + 40)
FAULT = "0-bad-rollout"


def changed(run: Run, at: float, kind: str, name: str, role: str = "", **summary: Any) -> Run:
    event = ObjectChanged(
        change="modified", kind=kind, name=name, uid=name, role=role, resource_version="1", summary=summary
    )
    return run.add(at, event, writer="kubernetes")


def rollout(run: Run, at: float, template: str, **more: Any) -> Run:
    return changed(run, at, "Rollout", "engines", "engine", desired=2, template=template, **more)


def began(*others: str, targets: Sequence[str] = (), **experiment: Any) -> Run:
    """Two engines of revision a; b is asked for after 1 s and has one of two replicas ready from 4 s on."""
    run = Run(**experiment).start([FAULT, *others], targets=targets)
    rollout(run, -10, "A")
    for name in ("a1", "a2"):
        run.pod(-10, name, change="present", revision="a")
    run.inject(fault=FAULT)
    rollout(run, 1, "B")
    run.pod(2, "b1", ready=False, change="added", revision="b")
    run.pod(4, "b1", revision="b")
    run.pod(4, "a2", ready=False, change="deleted", revision="a")
    return run


def taken_back() -> Run:
    """The analysis fails after 8 s, the rollout is aborted, and only a is ready again after 10 s."""
    run = began()
    changed(run, 8, "AnalysisRun", "engines-b", phase="Failed", message="Metric 'ttft' assessed Failed")
    rollout(run, 8.1, "B", aborted=True, message="RolloutAborted: ttft")
    run.pod(9, "a3", change="added", revision="a")
    run.pod(10, "b1", ready=False, change="deleted", revision="b")
    return run


def over(run: Run) -> Indexed:
    """Undone by drillbook after 30 s, as every drill is."""
    run.add(30, FaultChanged(id=FAULT, state=FaultState.UNDOING))
    rollout(run, 30.5, "A")
    run.load(lambda _: served())
    run.end()
    return Indexed.of(run.history)


def read(index: Indexed, name: str) -> Any:
    return PROBES[name].read(index, WHOLE)


def test_a_rollback_by_the_analysis_is_read_with_its_moments() -> None:
    index = over(taken_back())
    assert read(index, "rollout-began").value == pytest.approx(ZERO + 1)
    assert read(index, "rolled-back").value == pytest.approx(ZERO + 8.1)
    assert read(index, "analysis-failed").value == pytest.approx(ZERO + 8)
    assert read(index, "rollback-lag").value == pytest.approx(6.1)
    assert read(index, "rollbacks").value == 1
    assert "ttft" in read(index, "rolled-back").evidence[0]
    assert read(index, "progress-deadline-exceeded").value is None


def test_the_former_revision_serves_again_only_when_it_is_alone_and_a_user_was_served() -> None:
    at = read(over(taken_back()), "old-revision-serves").value
    assert ZERO + 10 < at < ZERO + 11


def test_the_share_of_the_new_revision_is_of_ready_time() -> None:
    share = PROBES["bad-revision-share"].read(over(taken_back()), Span(ZERO, ZERO + 10)).value
    # a: 2 engines for 4 s, 1 for 6 s, another for 1 s; b: 1 for 6 s
    assert share == pytest.approx(6 / (8 + 6 + 1 + 6))


def test_the_drills_own_undo_is_no_rollback_by_the_target() -> None:
    index = over(began())
    assert read(index, "rolled-back").value is None
    assert read(index, "rollbacks").value == 0
    lag = read(index, "rollback-lag")
    assert not lag.complete
    assert lag.at_least
    assert lag.value == pytest.approx(28)
    assert "nothing" in read(index, "rolled-back").reason


def test_a_former_template_that_somebody_writes_back_is_a_rollback() -> None:
    run = began()
    rollout(run, 6, "B", late=True)
    rollout(run, 7, "A")
    index = over(run)
    assert read(index, "rolled-back").value == pytest.approx(ZERO + 7)
    assert read(index, "progress-deadline-exceeded").value == pytest.approx(ZERO + 6)
    facts = rollout_facts(index)
    assert facts is not None
    assert facts.trigger == "progress deadline"


def test_a_good_revision_is_promoted_once_the_former_is_gone() -> None:
    run = began()
    run.pod(6, "b2", change="added", revision="b")
    assert read(over(run), "promoted").value is None
    run = began()
    run.pod(6, "b2", change="added", revision="b")
    run.pod(7, "a1", ready=False, change="deleted", revision="a")
    assert read(over(run), "promoted").value == pytest.approx(ZERO + 7)


def test_pods_that_the_rollout_takes_away_are_no_signal_and_new_ones_that_fail_are() -> None:
    run = taken_back().health(lambda at: float(at < 4), end=8, replica="a2").health()
    index = over(run)
    assert clocks.read(index).detect.at is None
    assert any(span.start <= ZERO + 4 and span.end >= ZERO + 10 for span in signals.green(index))
    run = taken_back().pod(8, "b1", revision="b", restarts=1)
    detect = clocks.read(over(run)).detect
    assert (detect.at, detect.source) == (pytest.approx(8), "pod b1 restarted")


def test_a_pod_that_another_fault_kills_is_a_signal_also_amid_a_rollout() -> None:
    detect = clocks.read(over(began("1-pod-kill", targets=["a2"]))).detect
    assert (detect.at, detect.source) == (pytest.approx(4), "pod a2 was deleted")


def test_flagger_says_failed_where_argo_says_aborted() -> None:
    run = began()
    changed(run, 9, "Canary", "engines", phase="Failed", message="Canary failed! Scaling down")
    index = over(run)
    assert read(index, "rolled-back").value == pytest.approx(ZERO + 9)
    assert read(index, "analysis-failed").value == pytest.approx(ZERO + 9)


def test_an_alert_is_the_trigger_only_where_no_analysis_spoke() -> None:
    run = began()
    run.add(5, AlertChanged(name="EngineSlow", state=AlertState.FIRING))
    rollout(run, 7, "A")
    facts = rollout_facts(over(run))
    assert facts is not None
    assert (facts.trigger, facts.spoke[0][1:]) == ("alert", ("alert", "EngineSlow"))
    run = taken_back()
    run.add(5, AlertChanged(name="EngineSlow", state=AlertState.FIRING))
    facts = rollout_facts(over(run))
    assert facts is not None
    assert facts.trigger == "analysis"
    assert [(row.revision, row.new, row.pods) for row in facts.revisions] == [("a", False, 3), ("b", True, 1)]


def test_nothing_is_said_where_no_revision_came_or_none_is_known() -> None:
    run = Run().start([FAULT])
    rollout(run, -10, "A")
    run.pod(-10, "a1", change="present", revision="a")
    run.inject(fault=FAULT)
    index = over(run)
    assert rollout_facts(index) is None
    for name in ("rollbacks", "rollback-lag"):
        assert not read(index, name).complete
    assert "no new revision" in read(index, "rolled-back").reason
    blind = Run().start([FAULT])
    blind.pod(-10, "a1", change="present")
    assert "no engine said" in read(over(blind.inject(fault=FAULT)), "bad-revision-share").reason


def declared(**policy: Any) -> Run:
    """The target says that its pipeline takes a revision back 5 s after the progress deadline, which speaks at 6 s."""
    run = began(target={"rollback": {"within": "5s", "by": "kubectl rollout undo"} | policy})
    return rollout(run, 6, "B", late=True)


def test_a_pipeline_that_keeps_what_the_target_declares_is_read_as_such() -> None:
    run = declared()
    rollout(run, 9, "A")
    assert read(over(run), "rolled-back-as-declared").value == pytest.approx(ZERO + 9)


def test_a_pipeline_that_is_late_or_does_nothing_is_told() -> None:
    run = declared()
    rollout(run, 13, "A")
    late = read(over(run), "rolled-back-as-declared")
    assert (late.value, late.complete) == (None, True)
    assert "taken back 7s after it" in late.reason
    never = read(over(declared()), "rolled-back-as-declared")
    assert (never.value, never.complete) == (None, True)
    assert "kubectl rollout undo" in never.reason
    assert "not taken back" in never.reason
    facts = rollout_facts(over(declared()))
    assert facts is not None
    assert (facts.declared, facts.kept) == ("within 5s of the progress-deadline (kubectl rollout undo)", False)


def test_a_pipeline_that_had_no_occasion_or_no_time_is_not_convicted() -> None:
    for policy in ({"after": "analysis"}, {"within": "60s"}):
        index = over(declared(**policy))
        assert not read(index, "rolled-back-as-declared").complete
        facts = rollout_facts(index)
        assert facts is not None
        assert facts.kept is None
    assert "declares no rollback" in read(over(began()), "rolled-back-as-declared").reason


def test_a_rollout_of_something_else_than_engines_is_read_off_its_own_pods() -> None:
    run = began()
    place, plan = next((n, line.event.plan) for n, line in enumerate(run.lines) if isinstance(line.event, Planned))
    gateway = ObjectRef(
        api_version="apps/v1", kind="Deployment", plural="deployments", namespace="llm", name="gateway", uid="gateway"
    )
    changed_fault = msgspec.structs.replace(plan.faults[0], targets=(gateway,))
    planned = Planned(plan=msgspec.structs.replace(plan, faults=(changed_fault,)))
    run.lines[place] = msgspec.structs.replace(run.lines[place], event=planned)
    changed(run, -9, "Deployment", "gateway", "gateway", desired=1, template="X")
    index = over(run)
    assert read(index, "rolled-back").value is None
    assert "no gateway said" in read(index, "rolled-back").reason


def preview() -> Run:
    """Blue/green: two engines of a serve, and two of b wait from 2 s on."""
    run = Run().start([FAULT])
    rollout(run, -10, "A", active="a")
    for name in ("a1", "a2"):
        run.pod(-10, name, change="present", revision="a")
    run.inject(fault=FAULT)
    rollout(run, 1, "B", active="a")
    for name in ("b1", "b2"):
        run.pod(2, name, change="added", revision="b")
    return run


def test_of_blue_and_green_only_the_one_that_users_get_is_counted() -> None:
    index = over(preview())
    assert read(index, "bad-revision-share").value == 0
    assert read(index, "promoted").value is None
    run = preview()
    rollout(run, 20, "B", active="b")
    index = over(run)
    assert read(index, "promoted").value == pytest.approx(ZERO + 20)
    assert PROBES["bad-revision-share"].read(index, Span(ZERO, ZERO + 25)).value == pytest.approx(5 / 25)
    facts = rollout_facts(index)
    assert facts is not None
    assert [row.share for row in facts.revisions] == [pytest.approx(20 / 30), pytest.approx(10 / 30)]
