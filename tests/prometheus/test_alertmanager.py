"""What Alertmanager made of an alert: told in the report, and judged by nobody."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import pytest
from aiohttp import web

from drillbook.model.events import AlertChanged, AlertState
from drillbook.probes.collectors.alerts import AlertPoller

LABELS = {"alertname": "EngineHung", "pod": "e0", "severity": "critical"}


@pytest.fixture
async def manager():
    alerts: list[dict] = []
    app = web.Application()

    async def get(_):
        return web.json_response(alerts)

    app.router.add_get("/api/v2/alerts", get)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", alerts
    await runner.cleanup()


async def look(poller):
    async with aiohttp.ClientSession() as http:
        await poller._look_at_manager(http)


async def test_an_alert_is_told_once_when_alertmanager_has_it_and_again_when_it_comes_back(manager):
    url, alerts = manager
    seen: list[AlertChanged] = []
    poller = AlertPoller("http://127.0.0.1:9", 0.0, seen.append, url)
    await look(poller)
    assert seen == []
    alerts.append({"labels": LABELS, "status": {"state": "active", "silencedBy": [], "inhibitedBy": []}})
    await look(poller)
    await look(poller)
    assert [(one.name, one.state, one.source, one.detail) for one in seen] == [
        ("EngineHung", AlertState.FIRING, "alertmanager", "")
    ]
    alerts.clear()
    await look(poller)
    alerts.append({"labels": LABELS, "status": {"state": "suppressed", "silencedBy": ["1"], "inhibitedBy": []}})
    await look(poller)
    assert seen[-1].detail == "silenced there: nobody was told"


def rule(name="EngineHung", **more):
    return {
        "name": name,
        "health": "ok",
        "lastEvaluation": "2026-11-22T01:00:00.123456789Z",
        "interval": 1,
        "alerts": [],
        **more,
    }


NOW = 1795309200.0  # 2026-11-22T01:00:00Z


@pytest.mark.parametrize(
    ("changed", "now", "why"),
    [
        ({"health": "err", "lastError": "many-to-many matching"}, NOW, "many-to-many matching"),
        ({}, NOW + 60, "it was not evaluated for 60s"),
        (None, NOW, "Prometheus has no such rule any more"),
    ],
)
def test_a_rule_that_is_not_evaluated_is_unknown_and_not_silent(changed, now, why):
    seen: list[AlertChanged] = []
    poller = AlertPoller("http://127.0.0.1:9", 0.0, seen.append)
    poller.take([rule()], NOW, since=1.0)
    poller.take([] if changed is None else [rule(**changed)], now, since=1.0)
    assert [one.state for one in seen] == [AlertState.INACTIVE, AlertState.UNKNOWN]
    assert seen[-1].detail == why


def test_each_alert_of_a_rule_is_followed_by_its_labels():
    seen: list[AlertChanged] = []
    poller = AlertPoller("http://127.0.0.1:9", 0.0, seen.append)
    one, other = ({"labels": LABELS | {"pod": pod}, "state": "firing"} for pod in ("e0", "e1"))
    poller.take([rule(alerts=[one | {"state": "pending"}])], NOW, since=1.0)
    poller.take([rule(alerts=[one, other])], NOW, since=1.0)
    poller.take([rule(alerts=[other])], NOW, since=1.0)
    told = [(event.state.value, event.labels.get("pod", "")) for event in seen]
    assert told[:2] == [("inactive", ""), ("pending", "e0")]
    assert sorted(told[2:4]) == [("firing", "e0"), ("firing", "e1")]
    assert told[4:] == [("inactive", "e0")]


async def test_a_prometheus_that_goes_away_is_told_at_each_look():
    seen = []
    task = asyncio.create_task(AlertPoller("http://127.0.0.1:9", 0.0, seen.append).run())
    async with asyncio.timeout(20):
        while not seen:
            await asyncio.sleep(0.02)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert seen[0].value is None
    assert "does not answer" in seen[0].error
