from __future__ import annotations

import random
import statistics

import pytest
import scripted
from histories import ZERO, drill, hung, refused, served

from drillbook.model.events import FaultChanged, FaultState, Noted
from drillbook.model.experiment import SloSpec
from drillbook.probes import clocks
from drillbook.probes.suffering import breach

AIM = 0.020
"""Seconds of error at the median that issue and design aim for, at 100 requests a second."""


def outages(kind: str, count: int = 8) -> list[scripted.Outage]:
    rng = random.Random(kind)
    starts = [rng.uniform(1, 5) for _ in range(count)]
    return [scripted.Outage(kind, start, start + rng.uniform(3, 20), rng.randrange(10**6)) for start in starts]


def errors(kind: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"effect": [], "mitigate": [], "green": [], "beyond": []}
    for outage in outages(kind):
        history = scripted.run(outage).history
        read = clocks.read(history)
        assert read.effect.at is not None
        assert read.mitigate.at is not None
        begun = outage.start
        if kind == "stalls and resumes":  # users see nothing wrong before a bound of the SLO passes
            slo = SloSpec(ttft="500ms", e2e="2s")
            begun = min(at for one in history.requests if (at := breach(one, slo)) is not None) - ZERO
        found["effect"].append(abs(read.effect.at - begun))
        found["mitigate"].append(abs(read.mitigate.at - outage.end))
        green = sum(end - start for start, end in read.green_while_broken)
        found["green"].append(abs(green - (outage.end - begun)))
        found["beyond"].append(read.mitigate.at - outage.end - read.mitigate.resolution)
    return found


@pytest.mark.parametrize("kind", scripted.KINDS)
def test_the_clocks_tell_a_scripted_outage_to_the_hundredth_of_a_second(kind):
    found = errors(kind)
    assert statistics.median(found["effect"]) <= AIM
    assert statistics.median(found["mitigate"]) <= AIM
    assert statistics.median(found["green"]) <= 2 * AIM  # both its ends have their error
    assert max(found["effect"] + found["mitigate"] + found["green"]) <= 0.150
    assert max(found["beyond"]) <= 1e-6, "the stated resolution is honest"


def test_a_partial_outage_is_one_broken_stretch_however_many_good_answers_lie_in_it():
    outage = scripted.Outage("loses one in three", 2.0, 12.0, 1)
    assert len(clocks.read(scripted.run(outage).history).broken) == 1


def test_two_outages_with_service_between_them_are_two_broken_stretches():
    broken = clocks.read(drill(lambda at: refused() if 2 <= at < 5 or 15 <= at < 20 else served()).history).broken
    assert [round(start) for start, _ in broken] == [2, 15]


def test_mitigation_is_the_last_return_of_service_before_the_undo():
    read = clocks.read(drill(lambda at: refused() if 2 <= at < 5 or 15 <= at < 20 else served()).history)
    assert read.mitigate.at == pytest.approx(20.051, abs=0.001)


def test_harm_that_the_undo_itself_does_moves_no_clock_of_the_fault():
    read = clocks.read(drill(lambda at: refused() if 2 <= at < 5 or at >= 42 else served()).history)
    assert read.mitigate.at == pytest.approx(5.05, abs=0.2)


def test_an_effect_never_lies_before_the_injection():
    read = clocks.read(drill(lambda at: hung() if -0.3 < at < 3 else served()).history)
    assert read.effect.at == pytest.approx(0.0)


def test_a_return_that_was_not_watched_long_enough_is_none_and_says_so():
    read = clocks.read(drill(lambda at: refused() if 2 <= at < 42 else served()).history)
    assert read.mitigate.at is None
    assert "5s are needed" in read.mitigate.why


def test_no_return_is_none_and_says_so():
    read = clocks.read(drill(lambda at: refused() if at >= 2 else served()).history)
    assert read.mitigate.at is None
    assert "not served" in read.mitigate.why


def test_without_harm_recovery_is_that_of_the_capacity():
    run = drill()
    run.pod(1.0, "e0", ready=False, deleting=True).pod(1.2, "e0", change="deleted", ready=False)
    run.pod(1.3, "e9", ready=False, change="added", node="").pod(9.0, "e9")
    read = clocks.read(run.history)
    assert (read.effect.at, read.mitigate.at) == (None, None)
    assert read.recover.at == pytest.approx(9.0)
    assert read.recover.source == "ready engines = desired engines"


def test_recovery_waits_for_the_capacity_when_users_are_served_before():
    run = drill(lambda at: refused() if at < 4 and at >= 0 else served())
    run.pod(1.0, "e0", ready=False).pod(20.0, "e0")
    assert clocks.read(run.history).recover.at == pytest.approx(20.0)


def test_capacity_that_never_comes_back_is_no_recovery():
    run = drill(lambda at: refused() if 0 <= at < 4 else served())
    run.pod(1.0, "e0", ready=False)
    read = clocks.read(run.history)
    assert read.mitigate.at is not None
    assert read.recover.at is None
    assert "to the end" in read.recover.why


def test_detection_is_the_first_signal_that_turned_and_says_which():
    run = drill(lambda at: hung() if 0 <= at < 8 else served())
    run.health(lambda at: 0.0 if at >= 6 else 1.0, replica="e0", path="/health")
    read = clocks.read(run.history)
    assert read.detect.at == pytest.approx(6.0)
    assert read.detect.resolution == pytest.approx(1.0)
    assert read.detect.source == "health e0"


def test_a_pod_that_is_no_longer_ready_detects_too():
    read = clocks.read(drill().pod(3.0, "e0", ready=False).history)
    assert (read.detect.at, read.detect.source) == (pytest.approx(3.0), "pod e0 is not Ready")


def test_a_custom_probe_detects_when_it_leaves_its_resting_zero():
    values = {float(at): float(at > 7) for at in range(-9, 40)}
    read = clocks.read(drill().observe("engine-stalled", values).history)
    assert (read.detect.at, read.detect.source) == (pytest.approx(8.0), "engine-stalled")


def test_kept_metrics_are_no_signals():
    values = {float(at): float(at > 7) for at in range(-9, 40)}
    assert clocks.read(drill().observe("vllm:num_requests_running", values).history).detect.at is None


def test_green_while_broken_ends_with_the_first_red_signal():
    run = drill(lambda at: hung() if 0 <= at < 20 else served())
    run.health(lambda at: 0.0 if 12 <= at < 25 else 1.0, replica="e0", path="/health")
    ((start, end),) = clocks.read(run.history).green_while_broken
    assert (start, end) == (pytest.approx(0.0, abs=0.1), pytest.approx(12.0))


def test_a_rank_without_http_holds_up_no_green():
    run = drill(lambda at: hung() if 0 <= at < 20 else served())
    run.health(lambda at: 0.0 if 12 <= at < 25 else 1.0, replica="e0", path="/health")
    run.health(lambda _: None, replica="e0-1", path="/health")  # never answered: unknown, not red
    ((start, end),) = clocks.read(run.history).green_while_broken
    assert (start, end) == (pytest.approx(0.0, abs=0.1), pytest.approx(12.0))


def test_revert_is_the_last_undo():
    run = drill().add(40.2, FaultChanged(id="0-pod-kill", state=FaultState.UNDOING))
    run.add(40.4, FaultChanged(id="0-pod-kill", state=FaultState.UNDONE))
    run.add(44.0, FaultChanged(id="0-pod-kill", state=FaultState.UNDONE))
    read = clocks.read(run.history)
    assert (read.revert.at, read.revert.resolution) == (pytest.approx(40.4), pytest.approx(0.2))


def test_acknowledgement_is_the_first_note_of_a_person():
    run = drill().add(3.0, Noted(actor="runner", text="x")).add(9.0, Noted(actor="ada", text="looking"))
    assert clocks.read(run.history).acknowledge.at == pytest.approx(9.0)
