"""What an analysis of the sandbox asks, and how it judges the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from drillbook.sandbox.control.controllers import measurement

NAN = float("nan")


@pytest.mark.parametrize(
    ("condition", "result", "wanted"),
    [
        ("result[0] < 1.0", [0.5], True),
        ("result[0] < 1.0", [2.0], False),
        ("isNaN(result[0]) || result[0] < 1", [NAN], True),
        ("isNaN(result[0]) || result[0] < 1", [3.0], False),
        ("len(result) == 0 || result[0] >= 0.95", [], True),
        ("len(result) > 0 && result[0] >= 0.95", [0.99], True),
        ("result == 'Was year for first'", "Was year for first", True),
        ('result != "ok"', "ok", False),
        ("result", True, True),
    ],
)
def test_conditions_are_judged(condition: str, result: Any, wanted: bool) -> None:
    assert measurement.holds(condition, result) is wanted


@pytest.mark.parametrize(("condition", "result"), [("rate(result)", 1), ("result[0] < 1", []), ("result < 1", "text")])
def test_what_cannot_be_judged_is_an_error_and_no_success(condition: str, result: Any) -> None:
    with pytest.raises(ValueError, match=r"understood|empty|compared"):
        measurement.holds(condition, result)


def test_a_result_between_success_and_failure_is_inconclusive() -> None:
    metric = {"successCondition": "result < 1", "failureCondition": "result > 2"}
    assert [measurement.judged(metric, value) for value in (0, 1.5, 3)] == ["Successful", "Inconclusive", "Failed"]
    assert measurement.judged({"successCondition": "result < 1"}, 1.5) == "Failed"


def test_arguments_are_filled_in_and_a_missing_one_is_told() -> None:
    said = {"query": 'up{pod=~".*-{{args.hash}}-.*"}', "rows": ["{{ args.hash }}"]}
    assert measurement.filled(said, {"hash": "abc"}) == {"query": 'up{pod=~".*-abc-.*"}', "rows": ["abc"]}
    with pytest.raises(ValueError, match="hash"):
        measurement.filled(said, {})


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Answers as Prometheus and as an engine would."""

    async def query(request: web.Request) -> web.Response:
        if request.query["query"] == "nonsense(":
            return web.json_response({"status": "error", "error": "parse error"}, status=400)
        vector = [{"metric": {}, "value": [1, "0.25"]}]
        return web.json_response({"status": "success", "data": {"resultType": "vector", "result": vector}})

    async def complete(request: web.Request) -> web.Response:
        asked = await request.json()
        return web.json_response({"choices": [{"text": f"{asked['prompt']} Paris"}]})

    app = web.Application()
    app.router.add_get("/api/v1/query", query)
    app.router.add_post("/v1/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield str(runner.addresses[0][1])
    await runner.cleanup()


async def test_prometheus_is_asked_at_its_services_address(server: str) -> None:
    address = {"prometheus.llm": "127.0.0.1"}
    said = {"prometheus": {"address": f"http://prometheus.llm.svc.cluster.local:{server}", "query": "up"}}
    assert await measurement.measure(said, address) == [0.25]
    said["prometheus"]["query"] = "nonsense("
    with pytest.raises(ValueError, match="parse error"):
        await measurement.measure(said, address)


async def test_a_question_is_asked_and_its_answer_picked_out(server: str) -> None:
    said = {
        "url": f"http://canary.llm:{server}/v1/completions",
        "method": "POST",
        "jsonBody": {"prompt": "The capital is"},
        "jsonPath": "{$.choices[0].text}",
    }
    assert await measurement.measure({"web": said}, {"canary.llm": "127.0.0.1"}) == "The capital is Paris"
    with pytest.raises(ValueError, match="has no"):
        await measurement.measure({"web": said | {"jsonPath": "{$.none[0]}"}}, {"canary.llm": "127.0.0.1"})
    with pytest.raises(ValueError, match="404"):
        await measurement.measure(
            {"web": said | {"url": f"http://canary.llm:{server}/no"}}, {"canary.llm": "127.0.0.1"}
        )


async def test_nobody_there_and_an_unknown_provider_are_errors() -> None:
    with pytest.raises(ValueError, match="no answer"):
        await measurement.measure({"web": {"url": "http://127.0.0.1:9/"}}, {})
    with pytest.raises(ValueError, match="datadog"):
        await measurement.measure({"datadog": {}}, {})
