"""Against a real Prometheus: what it answers, what it does not, and what changes while it is watched."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace

import pytest
from histories import BASELINE, drill

from drillbook import clock
from drillbook.errors import UnreachableError
from drillbook.experiments.check import judge
from drillbook.model.events import AlertChanged, AlertState, Observed, SeriesRead
from drillbook.model.units import Dimension
from drillbook.model.verdict import Verdict
from drillbook.probes.collectors.alerts import AlertPoller
from drillbook.probes.collectors.prometheus import QuerySampler
from drillbook.probes.names import ALERTS
from drillbook.probes.prometheus import preflight
from drillbook.probes.prometheus.client import Prometheus
from drillbook.probes.prometheus.queries import Query
from drillbook.probes.prometheus.source import find

WAITING = "sum(vllm:num_requests_waiting)"


@pytest.fixture
def client(server):
    found = Prometheus(server.url)
    yield found
    found.close()


async def told(server, asked):
    target = SimpleNamespace(spec=SimpleNamespace(prometheus=server.url), namespace="llm")
    return await preflight.answers(asked, await find(asked, target))


async def test_one_value_is_given_and_everything_else_is_said(client):
    assert (await client.value(WAITING)).value == 3.0
    assert (await client.value("scalar(sum(vllm:num_requests_waiting))")).value == 3.0
    for promql, why in (
        ("vllm:num_requests_waiting", "it gives 2 series, and one value is wanted"),
        ("sum(vllm:num_requests_gone)", "no data"),
        ("sum(vllm:num_requests_waiting) / 0 * 0", "it gives NaN"),
        ("sum(vllm:num_requests_waiting", "unclosed left parenthesis"),
        ("vllm:num_requests_waiting{pod='a'}[5s]", "it gives a range"),
    ):
        answer = await client.value(promql)
        assert answer.value is None
        assert why in answer.error


async def test_a_prometheus_that_is_not_there_is_said_to_be_out_of_reach():
    client = Prometheus("http://127.0.0.1:9")
    assert "refused" in (await client.value("1")).error
    with pytest.raises(UnreachableError, match="does not answer"):
        await client.rules()
    client.close()


async def test_a_query_that_answers_passes_the_preflight_and_so_does_a_rule_that_is_there(server, asking):
    asked = asking({"deep": WAITING}, ["prom.queue-depth < 9", "alert TooDeep stays silent"])
    fine, detail = await told(server, asked)
    assert fine, detail
    assert detail == f"{server.url} answers for deep, prom.queue-depth, alert TooDeep"


@pytest.mark.parametrize(
    ("promql", "expect", "why"),
    [
        (
            'sum(vllm:num_requests_waiting{model="tiny"})',
            "",
            "has no label 'model' (it has instance, job, model_name, namespace, pod); did you mean model_name?",
        ),
        ("sum(vllm:num_request_waiting)", "", "no series called vllm:num_request_waiting; did you mean"),
        ("sum(vllm:num_request_waiting) or vector(0)", "", "no series called vllm:num_request_waiting"),
        ("vllm:num_requests_waiting", "", "wrap it in sum(...)"),
        ("sum(vllm:num_requests_waiting", "", "unclosed left parenthesis"),
        ("", "alert ToDeep fires", "no alert rule called ToDeep; did you mean TooDeep?"),
        ("", "alert Broken fires", "the rule Broken cannot be evaluated: found duplicate series"),
        ("", "prom.tokens > 1/s", "no series called vllm:generation_tokens_total"),
    ],
)
async def test_what_cannot_answer_fails_the_preflight_with_what_was_meant(server, asking, promql, expect, why):
    fine, detail = await told(server, asking({"q": promql} if promql else {}, [expect] if expect else []))
    assert not fine
    assert why in detail


async def test_a_query_that_matches_nothing_is_waited_for_and_then_refused(server, asking, monkeypatch):
    monkeypatch.setattr(preflight, "PATIENCE", 0.2)
    fine, detail = await told(server, asking({"q": 'sum(vllm:num_requests_waiting{pod="c"})'}))
    assert not fine
    assert "it answers nothing" in detail
    fine, detail = await told(server, asking({"q": "sum(vllm:num_requests_waiting) > 1000"}))
    assert "write `bool` behind it" in detail


async def _until(seen, wanted, seconds=30.0):
    deadline = clock.monotonic() + seconds
    while not any(wanted(event) for event in seen):
        assert clock.monotonic() < deadline, seen[-3:]
        await asyncio.sleep(0.05)


async def _end(task):
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_a_query_is_sampled_while_the_run_lives_and_read_whole_at_its_end(server, asking):
    asked = asking({"deep": WAITING})
    target = SimpleNamespace(spec=SimpleNamespace(prometheus=server.url), namespace="llm")
    source = await find(asked, target)
    seen = []
    began = clock.monotonic()
    task = asyncio.create_task(QuerySampler(source.queries[0], server.url, source.skew, seen.append).run())
    await _until(seen, lambda event: isinstance(event, Observed) and event.value == 3.0)
    server.exporter.waiting["a"] = 7.0
    await _until(seen, lambda event: isinstance(event, Observed) and event.value == 9.0)
    server.exporter.waiting["a"] = 1.0
    await _end(task)
    whole = seen[-1]
    assert isinstance(whole, SeriesRead)
    assert not whole.error
    assert whole.start >= began
    assert whole.values[0] == 3.0
    assert all(age is None or age < 5 for age in whole.ages)
    assert all(event.labels["promql"] == WAITING for event in seen if isinstance(event, Observed))


async def test_a_prometheus_that_dies_under_the_run_convicts_nobody_and_the_rest_stands(mortal):
    query = Query("queue-deep", WAITING, Dimension.COUNT)
    seen = []
    task = asyncio.create_task(QuerySampler(query, mortal.url, 0.0, seen.append).run())
    await _until(seen, lambda event: isinstance(event, Observed) and event.value == 3.0)
    mortal.process.kill()
    mortal.process.wait()
    await _until(seen, lambda event: isinstance(event, Observed) and event.value is None)
    why = seen[-1].error
    assert "does not answer" in why or "refused" in why
    await _end(task)
    assert isinstance(seen[-1], SeriesRead)
    assert seen[-1].error
    run = drill(
        expect=["always queue-deep < 20", "goodput >= 90%"],
        queries={"queue-deep": {"promql": WAITING, "unit": "count"}},
    )
    seconds = range(int(-BASELINE), 46)
    run.observe("queue-deep", {at: 3.0 if at < 20 else None for at in seconds}, error=why, promql=WAITING)
    run.add(45.5, seen[-1], "observer")
    queue, goodput = (finding for finding in judge(run.history).findings if finding.role == "expect")
    assert queue.verdict is Verdict.INCONCLUSIVE
    assert why in queue.reason
    assert goodput.verdict is Verdict.HELD


async def test_an_alert_is_written_down_when_it_fires_and_when_it_ends(server):
    seen = []
    client = Prometheus(server.url)
    poller = AlertPoller(server.url, await client.skew(), seen.append)
    client.close()
    task = asyncio.create_task(poller.run())
    await _until(seen, lambda event: isinstance(event, AlertChanged) and event.name == "TooDeep")
    server.exporter.waiting["a"] = 99.0
    await _until(seen, lambda event: isinstance(event, AlertChanged) and event.state is AlertState.FIRING)
    server.exporter.waiting["a"] = 1.0
    await _until(
        seen,
        lambda event: isinstance(event, AlertChanged) and event.state is AlertState.INACTIVE and bool(event.labels),
    )
    await _end(task)
    changes = [(event.state.value, bool(event.labels)) for event in seen if getattr(event, "name", "") == "TooDeep"]
    assert changes == [("inactive", False), ("firing", True), ("inactive", True)]
    fired = next(event for event in seen if isinstance(event, AlertChanged) and event.state is AlertState.FIRING)
    assert fired.labels["severity"] == "warning"
    broken = next(event for event in seen if isinstance(event, AlertChanged) and event.name == "Broken")
    assert broken.state is AlertState.UNKNOWN
    assert any(event.probe == ALERTS and event.value == 1.0 for event in seen if isinstance(event, Observed))


async def test_a_bearer_token_of_the_environment_is_sent(server, monkeypatch):
    monkeypatch.setenv("DRILLBOOK_PROMETHEUS_TOKEN", "t0k3n")
    client = Prometheus(server.url)
    sent = []
    client._session.hooks["response"].append(lambda response, *_, **__: sent.append(response.request.headers))
    await client.value("1")
    assert sent[0]["Authorization"] == "Bearer t0k3n"
    client.close()
