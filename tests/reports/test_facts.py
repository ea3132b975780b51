from __future__ import annotations

import msgspec
import pytest

from drillbook.model.events import FaultState
from drillbook.model.history import History
from drillbook.model.judgement import Judgement
from drillbook.model.request import Outcome, Stream
from drillbook.model.verdict import RunStatus, UndoState, Verdict
from drillbook.reports.facts import Facts, facts

Run = tuple[History, Judgement]


def test_the_head_says_what_was_done_and_whether_it_held(pod_kill_facts: Facts) -> None:
    head = pod_kill_facts.header
    assert (head.verdict, head.status, head.exit_code) == (Verdict.HELD, RunStatus.COMPLETED, 0)
    assert head.done == "delete 1 of 3 engine pods with grace 0s at +5s"
    assert head.simulated
    assert head.started == "2026-11-18T11:06:22Z"
    assert head.versions["drillbook"] == "0.1.0"
    assert head.load == "6/s open loop, chat prompts, 48 tokens, streamed"


def test_harm_is_counted_from_the_requests_themselves(pod_kill: Run, pod_kill_facts: Facts) -> None:
    load = [request for request in pod_kill[0].requests if request.stream is Stream.LOAD]
    harm = pod_kill_facts.harm
    bad = [request for request in load if request.outcome.bad]
    assert (harm.total, harm.bad) == (len(load), len(bad)) == (601, 13)
    assert harm.outcomes == {o.value: sum(r.outcome is o for r in load) for o in Outcome}
    assert harm.tokens_lost == sum(48 - len(request.tokens) for request in bad)
    assert harm.hidden == sum(request.status == 200 for request in bad) == 4
    assert harm.worst is not None
    assert harm.worst.bad >= 6
    assert sum(row.total for row in harm.by_stretch) == harm.total


def test_the_stretches_follow_what_users_saw(pod_kill_facts: Facts) -> None:
    before, during, after = pod_kill_facts.slis
    assert (before.stretch.start, before.stretch.end) == (-15.0, 5.0)
    assert during.stretch.end == after.stretch.start == pytest.approx(pod_kill_facts.clocks.moments[4].at)
    assert before.goodput == after.goodput == 1.0 or (after.goodput or 0) > 0.98
    assert during.interval[0] < (during.goodput or 0) < during.interval[1] < 1.0


def test_a_drop_in_goodput_is_real_and_a_wobble_is_noise(pod_kill_facts: Facts) -> None:
    found = {(one.figure, one.stretch): one for one in pod_kill_facts.comparisons}
    assert found["goodput", "during"].real
    assert found["goodput", "during"].note == "the difference is real"
    assert not found["ttft.p50", "after"].real
    assert found["ttft.p50", "after"].note == "could be noise"


def test_a_quantile_among_users_who_never_got_a_token_has_no_number(engine_hang_facts: Facts) -> None:
    worst = next(c for c in engine_hang_facts.comparisons if (c.figure, c.stretch) == ("ttft.p95", "during"))
    assert worst.value == float("inf")
    assert worst.interval is None
    assert worst.real
    assert "never got a first token" in worst.note


def test_green_while_broken_shows_signal_by_signal(engine_hang_facts: Facts) -> None:
    signals = {signal.name: signal for signal in engine_hang_facts.signals}
    assert engine_hang_facts.clocks.green_while_broken_seconds == pytest.approx(20.0, abs=0.1)
    for name in ("endpoint /health", "vllm-7c9f6d-2x8kq /health", "all engine pods Ready"):
        assert signals[name].stayed_green
        assert signals[name].green_while_broken == pytest.approx(20.0, abs=0.1)
    assert engine_hang_facts.clocks.unnoticed_share == 1.0


def test_the_heartbeat_would_have_noticed_the_hang(engine_hang_facts: Facts) -> None:
    beat = next(signal for signal in engine_hang_facts.signals if signal.kind == "heartbeat")
    assert beat.turned == pytest.approx(9.45)  # five seconds after the last step that was seen, at 4.45
    assert [(start, end) for start, end in beat.red] == [(pytest.approx(9.45), pytest.approx(25.45))]


def test_what_turned_comes_first_with_its_time(pod_kill_facts: Facts) -> None:
    first = pod_kill_facts.signals[0]
    assert (first.name, first.turned) == ("all engine pods Ready", pytest.approx(5.07))


def test_a_fault_tells_its_calls_its_bite_and_its_undo(pod_kill_facts: Facts, engine_hang_facts: Facts) -> None:
    (killed,), (hung,) = pod_kill_facts.faults, engine_hang_facts.faults
    assert (killed.bite, killed.bite_detail) == ("bit", "ready engines fell from 3 to 2")
    assert killed.undo == "nothing-to-undo"
    assert killed.calls[0].verb == "DELETE"
    assert (hung.undo, hung.undone_at) == ("undone", pytest.approx(25.1))
    assert "state of pid 17 is S" in hung.undo_detail


def test_pods_are_told_from_birth_to_end(pod_kill_facts: Facts) -> None:
    bars = {bar.name: bar for bar in pod_kill_facts.pods.bars}
    assert [span.state for span in bars["vllm-7c9f6d-9jw4p"].spans] == ["ready", "terminating"]
    fresh = bars["vllm-7c9f6d-q2n8v"]
    assert [span.state for span in fresh.spans] == ["pending", "starting", "ready"]
    assert [span.start for span in fresh.spans] == [pytest.approx(t) for t in (5.2, 7.4, 12.0)]
    assert fresh.node == "gpu-node-1"


def test_the_timeline_is_in_order_and_names_actors_and_evidence(engine_hang_facts: Facts) -> None:
    rows = engine_hang_facts.timeline
    assert [row.t for row in rows] == sorted(row.t for row in rows)
    assert {"drillbook", "users", "on-call", "signal"} <= {row.actor for row in rows}
    bitten = next(row for row in rows if "has bitten" in row.event)
    assert bitten.phase in ("inject", "observe")
    assert bitten.evidence.startswith("control:")


def test_the_backlog_follows_from_the_findings(engine_hang_facts: Facts) -> None:
    items = engine_hang_facts.backlog
    assert items[0].finding == "green-while-broken < 5s"
    assert items[0].urgent
    assert {item.work.value for item in items} == {"detect", "mitigate"}
    assert [item.id for item in items] == [f"B{n}" for n in range(1, len(items) + 1)]
    assert any("would have turned 4.42s after the injection" in item.because for item in items)


def test_an_undo_that_failed_leads_the_backlog(engine_hang: Run) -> None:
    history, judgement = engine_hang
    broken = msgspec.structs.replace(judgement, undo=UndoState.REMAINS)
    told = facts(history, broken)
    assert told.header.exit_code == 5
    assert "drillbook recover" in told.backlog[0].title


def test_caveats_say_simulated_and_the_coarsest_clock(engine_hang_facts: Facts) -> None:
    said = " ".join(engine_hang_facts.caveats)
    assert "Simulated target" in said
    assert "the coarsest, effect" in said
    assert "kept its schedule within 2ms" in said


def test_names_are_real_where_the_journal_tells_them(pod_kill_facts: Facts) -> None:
    assert pod_kill_facts.names["namespace"] == "llm"
    assert pod_kill_facts.names["pod"] == "vllm-7c9f6d-9jw4p"
    assert pod_kill_facts.names["one_more"] == "4"
    assert "serving-engine" in pod_kill_facts.names["selector"]


def test_the_series_counts_each_request_once(pod_kill_facts: Facts) -> None:
    bins = pod_kill_facts.series.bins
    assert sum(sum(one.outcomes.values()) for one in bins) == pod_kill_facts.harm.total
    assert len(pod_kill_facts.series.dots) == pod_kill_facts.harm.total


def test_an_empty_journal_still_makes_a_report(engine_hang: Run) -> None:
    nothing = History()
    from drillbook.experiments.check import judge

    told = facts(nothing, judge(nothing))
    assert "missing" in told.header.title
    assert told.harm.total == 0
    assert told.headline[3].value == "0 of 0"


def test_a_fault_that_was_refused_was_not_made(pod_kill: Run) -> None:
    history, judgement = pod_kill
    kept = [line for line in history.lines if getattr(line.event, "state", None) not in tuple(FaultState)]
    told = facts(History(kept, history.requests), judgement)
    assert told.faults[0].bite == "not-injected"
    assert told.faults[0].injected_at is None
