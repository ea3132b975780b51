from __future__ import annotations

import pytest
from histories import ZERO, Run, drill, hung, refused, served

from drillbook.model.history import Span
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Reading
from drillbook.probes.registry import PROBES, dimensions, lookup


def read(run: Run, probe: str, start: float = 0.0, end: float = 40.0, dimension: Dimension | None = None) -> Reading:
    return lookup(probe, dimension).read(Indexed.of(run.history), Span(ZERO + start, ZERO + end))


def cut() -> dict:
    return {"tokens": (50_000, 60_000), "took": 0.1, "outcome": Outcome.TRUNCATED, "wanted": 5}


def mixed(at: float) -> dict:
    place = round(at * 10) % 10
    return {0: refused(), 1: hung(), 2: cut(), 3: refused() | {"outcome": Outcome.SHED}}.get(place, served())


@pytest.mark.parametrize(
    ("probe", "share"),
    [("goodput", 0.6), ("error-rate", 0.1), ("hang-rate", 0.1), ("truncation-rate", 0.1), ("shed-rate", 0.1)],
)
def test_shares_are_of_the_requests_scheduled_in_the_window(probe, share):
    reading = read(drill(mixed), probe, 5, 15)
    assert reading.value == pytest.approx(share)
    assert (reading.samples, reading.complete) == (100, True)
    assert reading.interval[0] < share < reading.interval[1]
    assert reading.evidence


def test_goodput_counts_only_answers_within_the_slo():
    run = drill(lambda at: served(ttft=0.4 if at >= 20 else 0.05), slo={"ttft": "300ms"})
    assert read(run, "goodput", 5, 15).value == 1.0
    assert read(run, "goodput", 25, 35).value == 0.0


def test_requests_whose_end_was_not_seen_are_left_out_and_too_many_make_it_incomplete():
    unknown = refused() | {"outcome": Outcome.UNKNOWN}
    reading = read(drill(lambda at: unknown if round(at * 10) % 5 == 0 else served()), "goodput", 5, 15)
    assert (reading.value, reading.samples, reading.complete) == (1.0, 80, False)
    assert reading.reason == "the end of 20 of 100 requests was not seen"


def test_a_window_without_requests_has_no_value():
    reading = read(Run().start().inject().load(times=[]).end(), "goodput")
    assert (reading.value, reading.complete, reading.reason) == (None, False, "no request was scheduled then")


def test_quantiles_are_times_that_some_user_saw():
    run = drill(lambda at: served(ttft=0.3 if round(at * 10) % 10 == 0 else 0.05))
    assert read(run, "ttft.p50", 5, 15).value == pytest.approx(0.051)
    assert read(run, "ttft.p95", 5, 15).value == pytest.approx(0.301)
    assert read(run, "ttft.max", 5, 15).value == pytest.approx(0.301)
    assert read(run, "itl.p99", 5, 15).value == pytest.approx(0.02)
    assert read(run, "tpot.mean", 5, 15).value == pytest.approx(0.02)


@pytest.mark.parametrize(("probe", "wanted"), [("ttft.p50", 5), ("ttft.p90", 10), ("ttft.p95", 20), ("ttft.p99", 100)])
def test_a_quantile_of_too_few_samples_has_a_value_and_is_incomplete(probe, wanted):
    few = read(drill(), probe, 5, 5 + (wanted - 1) / 10 - 0.05)
    assert few.value is not None
    assert not few.complete
    assert read(drill(), probe, 5, 5 + wanted / 10).complete


def test_users_who_never_got_a_token_make_the_quantile_at_least_their_wait():
    reading = read(drill(lambda at: hung() if round(at * 10) % 5 == 0 else served()), "ttft.p95", 5, 15)
    assert reading.at_least
    assert reading.value == pytest.approx(10.001)


def test_a_request_in_flight_at_the_injection_counts_after_it_and_not_before():
    run = drill(lambda at: {**cut(), "took": 2.0} if -1 <= at < 0 else served())
    assert read(run, "goodput", -10, 0).value == 1.0
    assert read(run, "requests-failed", 0, 40).value == 10
    assert read(run, "tokens-lost", 0, 40).value == 30


def test_rates_are_per_second_of_the_window():
    assert read(drill(), "request-rate", 5, 15).value == pytest.approx(10)
    assert read(drill(), "tokens-per-second", 5, 15).value == pytest.approx(50, rel=0.02)


def test_ready_engines_are_a_step_function_with_its_extremes():
    run = drill().pod(3.0, "e0", ready=False).pod(9.0, "e0").pod(9.5, "e1", deleting=True)
    reading = read(run, "ready-engines", 0, 9.2)
    assert (reading.value, reading.low, reading.high) == (3, 2, 3)
    assert read(run, "ready-engines", 9.6, 20).value == 2


def test_desired_engines_are_the_most_that_were_ready_where_no_workload_was_seen():
    assert read(drill().pod(3.0, "e0", ready=False), "desired-engines").value == 3


def test_restarts_count_from_what_they_were_before_the_window():
    run = (
        Run().start().pod(-10, "e0", change="present", restarts=4).pod(5.0, "e0", restarts=5).pod(6.0, "e0", restarts=6)
    )
    assert read(run.inject().load().end(), "restarts").value == 2


def test_endpoint_health_is_a_share_of_polls():
    run = Run().start().inject().load().health(lambda at: float(at < 20)).end()
    assert read(run, "endpoint-health", 0, 40).value == pytest.approx(0.5)
    assert read(run, "engine-health", 0, 40).value is None


def test_a_custom_probe_reads_what_was_observed_live():
    run = drill().observe("queue", {float(at): float(at) for at in range(-9, 41)})
    reading = read(run, "queue", 5, 15.5, Dimension.COUNT)
    assert (reading.value, reading.low, reading.high, reading.complete) == (15, 5, 15, True)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, "no readings at all"),
        ({float(at): None if at == 9 else 1.0 for at in range(41)}, "1 of 10 readings failed: boom"),
        ({float(at): 1.0 for at in range(41) if not 8 < at < 14}, "gave nothing for 6.0s"),
        ({float(at): 1.0 for at in range(9)}, "gave nothing for"),
        ({float(at): None for at in range(41)}, "boom"),
    ],
    ids=["empty", "failed once", "gap", "stale", "never gave anything"],
)
def test_a_custom_probe_with_holes_is_incomplete(values, reason):
    reading = read(drill().observe("queue", values, error="boom"), "queue", 5, 15, Dimension.COUNT)
    assert not reading.complete
    assert reason in reading.reason


def test_events_are_moments_and_durations_run_between_them():
    run = drill(lambda at: refused() if 2 <= at < 8 else served())
    assert read(run, "recovered").value == pytest.approx(ZERO + 8.051, abs=0.01)
    assert read(run, "time-to-recover").value == pytest.approx(6.05, abs=0.01)
    assert read(run, "green-while-broken").value == pytest.approx(5.9, abs=0.15)


def test_what_has_not_happened_took_at_least_the_time_that_was_watched():
    reading = read(drill(lambda at: refused() if at >= 2 else served()), "time-to-mitigate")
    assert reading.at_least
    assert reading.value == pytest.approx(38, abs=0.1)


def test_every_probe_has_a_name_a_help_and_a_dimension_or_is_an_event():
    assert set(dimensions()) == set(PROBES)
    assert all(probe.help and probe.min_samples >= 1 for probe in PROBES.values())
    events = {name for name, dimension in dimensions().items() if dimension is None}
    assert events == {name for name, probe in PROBES.items() if probe.kind is Kind.EVENT}
    assert {"recovered", "mitigated", "detected"} < events


def test_a_custom_probe_cannot_take_the_name_of_ours():
    assert dimensions({"goodput": Dimension.COUNT, "mine": Dimension.RATE}).get("goodput") is Dimension.SHARE
