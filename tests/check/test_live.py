from __future__ import annotations

import pytest
from histories import ZERO, Run, refused, served

from drillbook.experiments import check
from drillbook.experiments.live import live
from drillbook.model import expectation
from drillbook.model.events import FaultState
from drillbook.model.expectation import Expectation
from drillbook.model.history import History
from drillbook.model.units import Dimension
from drillbook.probes.registry import dimensions


def parse(text: str) -> Expectation:
    return expectation.parse(text, dimensions({"leaks": Dimension.COUNT}))


def until(run: Run, now: float) -> History:
    """What a runner knows at a moment: all that was written, and the requests that have ended."""
    whole = run.history
    return History(
        [line for line in whole.lines if line.mono <= ZERO + now],
        [one for one in whole.requests if one.end <= ZERO + now],
    )


def broken(start: float, end: float, **experiment) -> Run:
    run = Run(**experiment).start().pods().inject()
    return run.load(lambda at: refused() if start <= at < end else served()).health()


def tripped(run: Run, text: str, now: float) -> str:
    return check.tripped(until(run, now), parse(text), ZERO + now)


def test_an_abort_condition_trips_once_it_has_held_for_its_time():
    run = broken(2, 30)
    assert not tripped(run, "goodput < 20% for 10s", 10.5)
    assert "goodput was" in tripped(run, "goodput < 20% for 10s", 13)


def test_an_abort_condition_that_a_moment_of_service_interrupts_does_not_trip():
    run = Run().start().pods().inject().load(lambda at: served() if 5 <= at < 8 else refused()).health()
    assert not tripped(run, "goodput < 20% for 10s", 12)


def test_an_abort_condition_without_a_time_looks_back_five_seconds():
    assert not tripped(broken(2, 30), "goodput < 20%", 4)
    assert tripped(broken(2, 30), "goodput < 20%", 7.5)


def test_few_samples_are_enough_for_an_alarm():
    run = Run().start().pods().inject().load(lambda at: refused() if at > 0 else served(), rate=0.5).health()
    assert tripped(run, "goodput < 20% for 20s", 24)


def test_levels_and_sums_trip_too():
    run = broken(2, 30).pod(3.0, "e0", ready=False).pod(4.0, "e1", ready=False)
    assert tripped(run, "ready-engines < 2", 5.5)
    assert tripped(run, "requests-failed > 10", 5)
    assert not tripped(run, "requests-failed > 1000", 5)
    assert tripped(run, "mitigated", 44)
    assert not tripped(run, "mitigated", 20)


def test_a_condition_that_cannot_be_read_trips_as_if_it_were_met():
    run = broken(99, 99).observe("leaks", {float(at): (0.0 if at < 5 else None) for at in range(-9, 40)}, error="boom")
    assert not tripped(run, "leaks > 0 for 2s", 4)
    assert "could not be read for 10s: boom" in tripped(run, "leaks > 0 for 2s", 16)


def test_a_probe_that_never_gave_anything_trips_after_its_patience():
    assert not tripped(broken(99, 99), "leaks > 0", -5)
    assert "no readings at all" in tripped(broken(99, 99), "leaks > 0", 5)


def test_requests_that_stop_ending_blind_the_conditions_on_them():
    run = Run().start().pods().inject().load(end=2.0, ticks=False).ticks()
    assert not tripped(run, "goodput < 20% for 5s", 14)
    assert "could not be read" in tripped(run, "goodput < 20% for 5s", 24)


def test_what_was_measured_is_told_also_where_nothing_is_met():
    assert live(until(broken(99, 99), 8), parse("goodput < 20%"), ZERO + 8).detail.startswith("goodput was 100% of")


def test_a_sound_baseline_has_no_problem():
    assert check.baseline_problem(until(broken(99, 99), 0), ZERO) == ""


@pytest.mark.parametrize(
    ("run", "why"),
    [
        (broken(-8, 0), "goodput was"),
        (Run().start().pods().ticks(), "no request"),
        (Run().start().pods().load(ticks=False).ticks(oldest=7.0), "no progress for 7.0s"),
        (Run(), "no baseline"),
    ],
    ids=["failing", "no load", "stalled", "nothing"],
)
def test_a_bad_baseline_says_why_nothing_may_be_injected(run, why):
    assert why in check.baseline_problem(until(run, -0.1), ZERO)


def settled(run: Run, now: float) -> bool:
    return check.settled(until(run, now), ZERO + now)


def test_the_observation_ends_once_recovery_has_held():
    run = broken(1, 8)
    assert not settled(run, 7)
    assert not settled(run, 10)
    assert settled(run, 14.5)


def test_the_observation_ends_once_everything_is_overdue():
    run = broken(1, 99, expect=["detected within 20s"])
    assert not settled(run, 19)
    assert settled(run, 21.5)


def test_a_recovery_that_is_late_is_watched_until_it_comes():
    run = broken(1, 25, expect=["recovered within 20s"])
    assert not settled(run, 24)
    assert settled(run, 31.5)


def test_nothing_is_settled_before_the_fault_showed_its_bite():
    run = Run().start().pods().inject(proof=None).load(lambda at: refused() if 1 <= at < 8 else served()).health()
    assert not settled(run, 30)
    assert settled(run.add(29, _bit()), 30)


def _bit():
    from drillbook.model.events import FaultChanged

    return FaultChanged(id="0-pod-kill", state=FaultState.BIT)


def test_nothing_is_settled_while_a_request_is_stalled():
    run = Run().start().pods().inject().load(lambda at: refused() if 1 <= at < 8 else served(), ticks=False)
    assert not settled(run.ticks(oldest=6.0), 16)


def test_nothing_is_settled_while_a_fault_is_still_held():
    run = Run(expect=["recovered within 60s"]).start(hold=25.0).pods().inject()
    run.load(lambda at: refused() if 1 <= at < 8 else served())
    assert not settled(run, 20)
    assert settled(run, 26)


def test_capacity_that_came_back_at_once_is_watched_for_a_while():
    run = broken(99, 99).pod(0.1, "e0", ready=False).pod(1.0, "e0")
    assert not settled(run, 1.5)
    assert settled(run, 6.5)


def test_no_loss_so_far_is_no_recovery_yet():
    run = broken(99, 99)
    assert not settled(run, 30)
    assert not settled(broken(99, 99, expect=["recovered within 20s"]), 15)
    assert settled(broken(99, 99, expect=["recovered within 20s"]), 22)


def test_an_observation_without_anything_eventual_runs_its_whole_time():
    assert not settled(broken(1, 8, expect=["goodput >= 1%"]), 40)


def test_what_counts_from_the_undo_is_not_waited_for_before_it():
    assert settled(broken(1, 8, expect=["recovered within 20s", "goodput >= 99% within 5s of undo"]), 15)


def test_an_eventual_share_settles_when_it_holds():
    run = broken(1, 8, expect=["goodput >= 99% within 60s"])
    assert not settled(run, 9)
    assert settled(run, 17)


def test_an_observation_goes_on_until_what_is_asked_of_it_alone_can_be_said():
    asked = ["detected within 60s of inject", "always goodput >= 50% during observe"]
    alone, both = (broken(0.1, 0.2, expect=asked[:count]).pod(0.2, "e0", ready=False) for count in (1, 2))
    assert settled(alone, 0.9)
    assert not settled(both, 0.9), "six requests of the observation"
    assert settled(both, 12)
