"""Queries of Prometheus as expectations read them: off the run's last range query, else off what was seen live."""

from __future__ import annotations

import pytest
from histories import BASELINE, ZERO, drill

from drillbook.experiments.check import judge
from drillbook.model.events import SeriesRead
from drillbook.model.verdict import Verdict
from drillbook.probes.prometheus.engines import NAMES, engines, scoped
from drillbook.probes.prometheus.promql import selectors

DEEP = "always queue-deep < 20"
PROMQL = "sum(vllm:num_requests_waiting)"
QUERIES = {"queue-deep": {"promql": PROMQL, "unit": "count"}}
SECONDS = range(int(-BASELINE), 46)


def told(values, *, whole=None, ages=(), expect=DEEP, error="no data", **labels):
    built = drill(expect=[expect], queries=QUERIES)
    built.observe("queue-deep", {second: values(second) for second in SECONDS}, error=error, promql=PROMQL, **labels)
    if whole is not None:
        read = SeriesRead(
            probe="queue-deep",
            promql=PROMQL,
            start=ZERO - BASELINE,
            step=1.0,
            values=tuple(whole(second) for second in SECONDS),
            ages=tuple(ages(second) for second in SECONDS) if ages else (),
        )
        built.add(45.5, read, "observer")
    return next(finding for finding in judge(built.history).findings if finding.role == "expect")


def test_a_query_is_judged_by_its_values():
    assert told(lambda _: 3.0).verdict is Verdict.HELD
    found = told(lambda second: 40.0 if second == 7 else 3.0)
    assert found.verdict is Verdict.REFUTED
    assert "queue-deep was 40" in found.reason


def test_what_was_scraped_late_is_read_at_the_end_of_the_run():
    assert told(lambda second: None if 5 < second < 15 else 3.0).verdict is Verdict.INCONCLUSIVE
    assert told(lambda second: None if 5 < second < 15 else 3.0, whole=lambda _: 3.0).verdict is Verdict.HELD
    assert told(lambda _: 3.0, whole=lambda second: 40.0 if second == 7 else 3.0).verdict is Verdict.REFUTED


@pytest.mark.parametrize(
    ("why", "found"),
    [
        ("no data", lambda: told(lambda _: None)),
        ("it gives NaN", lambda: told(lambda second: None if second == 9 else 3.0, error="it gives NaN")),
        ("no data", lambda: told(lambda _: 3.0, whole=lambda second: None if second == 9 else 3.0)),
        (
            "the data is 25s old",
            lambda: told(lambda _: 3.0, whole=lambda _: 3.0, ages=lambda second: 25.0 if second == 9 else 1.0),
        ),
    ],
)
def test_without_whole_and_fresh_data_nothing_is_said_and_the_query_is_named(why, found):
    finding = found()
    assert finding.verdict is Verdict.INCONCLUSIVE
    assert why in finding.reason
    assert PROMQL in finding.reason


def test_the_series_that_a_query_reads_are_found_in_it():
    found = selectors(
        'sum by (pod) (rate(vllm:a_total{model="x,y",pod!~"z"}[5m] offset 30s)) / on (pod) group_left (node) up'
        " or max_over_time(count(b)[10m:15s]) > bool 1"
    )
    assert [(one.name, one.labels) for one in found] == [("vllm:a_total", ("model", "pod")), ("up", ()), ("b", ())]
    assert [one.name for one in selectors('{__name__="vllm:c", pod="x"}')] == ["vllm:c"]
    assert selectors("1 + time()") == []


@pytest.mark.parametrize("engine", engines(), ids=lambda engine: engine.name)
def test_every_engine_answers_each_probe_or_says_why_not(engine):
    assert {*engine.queries, *engine.missing} == set(NAMES)
    for promql in engine.queries.values():
        assert selectors(scoped(promql, 'namespace="llm"'))
        assert all("namespace" in one.labels for one in selectors(scoped(promql, 'namespace="llm"')))
        assert "$" not in scoped(promql, "")
