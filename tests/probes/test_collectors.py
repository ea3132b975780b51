from __future__ import annotations

import asyncio
import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from drillbook.errors import DrillbookError, UsageError
from drillbook.model.events import AnyEvent, ObjectChanged, Observed
from drillbook.probes import probe
from drillbook.probes.collectors import engines, health
from drillbook.probes.collectors.custom import Sampler
from drillbook.probes.collectors.health import HealthPoller
from drillbook.probes.collectors.kubernetes import KubernetesWatcher
from drillbook.probes.names import ITERATIONS, RUNNING
from drillbook.targets.watching import Change

METRICS = """# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 2.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0",model_name="m"} 9.0
vllm:iteration_tokens_total_count{engine="0",model_name="m"} 72.0
vllm:iteration_tokens_total_sum{engine="0",model_name="m"} 900.0
"""


class Engine:
    """An HTTP server that says what it is told to say, and can be told to say nothing."""

    def __init__(self) -> None:
        self.status, self.silent, self.paths = 200, False, ("/health", "/metrics", "/v1/models")

    async def __aenter__(self) -> Engine:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        if request.path not in self.paths:
            return web.Response(status=404)
        if self.silent:
            await asyncio.sleep(60)
        return web.Response(status=self.status, text=METRICS if request.path == "/metrics" else "ok")


class Log(list[Any]):
    """Collects events, and waits until some are there."""

    def add(self, event: AnyEvent) -> None:
        self.append(event)

    async def until(self, wanted: Callable[[Any], bool]) -> Any:
        async with asyncio.timeout(60):
            while not any(map(wanted, self)):
                await asyncio.sleep(0.01)
        return next(event for event in self if wanted(event))

    def of(self, name: str, label: str = "replica") -> list[Observed]:
        return [event for event in self if event.probe == name and label in event.labels]


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(health, "EVERY", 0.05)
    monkeypatch.setattr(engines, "TIMEOUT_SECONDS", 0.2)


async def polling(poller: HealthPoller) -> asyncio.Task[None]:
    return asyncio.create_task(poller.run())


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_engines_and_the_endpoint_are_polled_and_the_engines_work_is_kept(quick):
    log = Log()
    async with Engine() as engine:
        task = await polling(HealthPoller(engine.url, lambda: {"e0": engine.url}, log.add))
        await log.until(lambda event: event.probe == ITERATIONS)
        await log.until(lambda event: event.probe == "health" and "replica" in event.labels)
        await stop(task)
    assert log.of("health")[0].value == 1.0
    assert log.of("health")[0].labels == {"replica": "e0", "path": "/health"}
    assert log.of("health", "endpoint")[0].value == 1.0
    assert (log.of(RUNNING)[0].value, log.of(ITERATIONS)[0].value) == (3.0, 72.0)


async def test_an_engine_that_turns_bad_is_red_by_its_status_or_by_its_silence(quick):
    log = Log()
    async with Engine() as engine:
        task = await polling(HealthPoller(engine.url, lambda: {"e0": engine.url}, log.add))
        await log.until(lambda event: event.probe == "health" and "replica" in event.labels and event.value == 1.0)
        engine.status = 503
        red = await log.until(lambda event: event.error == "HTTP 503" and "replica" in event.labels)
        assert red.value == 0.0
        engine.silent = True
        red = await log.until(lambda event: "no answer" in event.error and "replica" in event.labels)
        assert (red.value, red.took >= 0.19) == (0.0, True)
        await stop(task)


async def test_an_engine_that_never_answered_is_unknown_and_not_red(quick):
    log = Log()
    async with Engine() as engine:
        task = await polling(HealthPoller(engine.url, lambda: {"e0": "http://127.0.0.1:9"}, log.add))
        found = await log.until(lambda event: "replica" in event.labels)
        await stop(task)
    assert found.value is None
    assert found.error


async def test_a_poll_that_cannot_be_written_down_ends_the_poller_and_is_not_lost(quick):
    def full(_: Any) -> None:
        raise DrillbookError("no space left")

    async with Engine() as engine, asyncio.timeout(20):
        with pytest.raises(DrillbookError, match="no space left"):
            await HealthPoller(engine.url, lambda: {"e0": engine.url}, full).run()


async def test_a_gateway_without_health_is_asked_for_its_models(quick):
    log = Log()
    async with Engine() as engine:
        engine.paths = ("/v1/models",)
        task = await polling(HealthPoller(engine.url, dict, log.add))
        found = await log.until(lambda event: "endpoint" in event.labels)
        await stop(task)
    assert (found.value, found.labels["path"]) == (1.0, "/v1/models")


def test_only_whole_names_of_metrics_count_and_ranks_are_summed():
    assert engines.parse_metrics(METRICS, (RUNNING, ITERATIONS)) == {RUNNING: 3.0, ITERATIONS: 72.0}
    assert engines.parse_metrics("vllm:num_requests_running nonsense\n\x00", (RUNNING,)) == {}


def sampled(function: Any, every: str = "10ms") -> tuple[Sampler, Log]:
    log = Log()
    return Sampler(probe("p", dimension="count", every=every)(function), "the target", log.add), log


async def first_of(function: Any) -> Observed:
    sampler, log = sampled(function)
    task = asyncio.create_task(sampler.run())
    found: Observed = await log.until(lambda _: True)
    await stop(task)
    return found


async def asynchronous(target: Any) -> float:
    return float(len(target))


async def raising(target: Any) -> float:
    raise KeyError("gone")


async def leaving(target: Any) -> float:
    raise SystemExit(0)


@pytest.mark.parametrize(
    ("function", "value", "error"),
    [
        (asynchronous, 10.0, ""),
        (lambda target: 3, 3.0, ""),
        (raising, None, "KeyError: 'gone'"),
        (leaving, None, "SystemExit: 0"),
        (lambda target: sys.exit(3), None, "SystemExit: 3"),
        (lambda target: None, None, "it returned nothing"),
        (lambda target: float("nan"), None, "it returned nan"),
        (lambda target: float("inf"), None, "it returned inf"),
        (lambda target: "3", None, "it returned a str, and a number is wanted"),
        (lambda target: True, None, "it returned a bool, and a number is wanted"),
        (lambda target: [1.0], None, "it returned a list, and a number is wanted"),
    ],
    ids=[
        "async",
        "plain",
        "raises",
        "leaves",
        "leaves in its thread",
        "nothing",
        "NaN",
        "infinite",
        "text",
        "truth",
        "list",
    ],
)
async def test_whatever_a_custom_probe_does_becomes_a_reading(function, value, error):
    found = await first_of(function)
    assert (found.value, found.error) == (value, error)


async def sleeping(target: Any) -> float:
    await asyncio.sleep(60)
    return 0.0


@pytest.mark.parametrize("blocking", [lambda target: time.sleep(0.6), sleeping], ids=["plain", "async"])
async def test_a_custom_probe_that_blocks_says_so_and_holds_nothing_up(blocking, monkeypatch):
    monkeypatch.setattr("drillbook.probes.collectors.custom.LEAST_PATIENCE", 0.1)
    found = await first_of(blocking)
    assert (found.value, found.error) == (None, "no answer within 0.1s")


async def test_a_stuck_call_is_not_piled_upon(monkeypatch):
    monkeypatch.setattr("drillbook.probes.collectors.custom.LEAST_PATIENCE", 0.05)
    calls = []
    sampler, log = sampled(lambda target: calls.append(1) or time.sleep(0.5))
    task = asyncio.create_task(sampler.run())
    await log.until(lambda event: event.error == "an earlier call has not returned yet")
    assert len(calls) == 1
    await stop(task)


@pytest.mark.parametrize("words", [{"dimension": "size"}, {"dimension": "count", "every": "often"}])
def test_a_probe_declared_wrongly_is_told(words):
    with pytest.raises(UsageError, match="probe 'p'"):
        probe("p", **words)


def pod(name: str, *, ready: bool = True, version: str = "1", **status: Any) -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": str(ready)},
        {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]
    statuses = [{"name": "vllm", "ready": ready, "restartCount": 2, "state": {"running": {"startedAt": "S"}}}]
    return {
        "metadata": {"name": name, "uid": f"u-{name}", "resourceVersion": version, "labels": {"app": "engine"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "vllm", "resources": {"limits": {"nvidia.com/gpu": "2"}}}]},
        "status": {
            "phase": "Running",
            "podIP": "10.1.2.3",
            "conditions": conditions,
            "containerStatuses": statuses,
            **status,
        },
    }


class Target:
    namespace = "llm"
    stack = SimpleNamespace(roles={"engine": SimpleNamespace(port=8123)})

    def role_of(self, obj: dict[str, Any]) -> str:
        return (obj["metadata"].get("labels") or {}).get("app", "") if obj["spec"] else ""


def watcher(changes: list[Change] | None = None) -> tuple[KubernetesWatcher, list[ObjectChanged]]:
    seen: list[ObjectChanged] = []

    async def watch(path: str) -> Any:
        seen.append(path)
        for change in changes or ():
            yield change

    return KubernetesWatcher(SimpleNamespace(watch=watch), Target(), seen.append), seen


def test_a_pod_is_summed_up_to_what_clocks_and_reports_read():
    watch, seen = watcher()
    watch.take("Pod", Change("PRESENT", pod("e0")))
    (event,) = seen
    assert (event.change, event.kind, event.name, event.uid, event.role) == ("present", "Pod", "e0", "u-e0", "engine")
    assert event.summary == {
        "phase": "Running",
        "ready": True,
        "node": "n1",
        "ip": "10.1.2.3",
        "restarts": 2,
        "reason": "",
        "gpus": 2,
        "deleting": False,
        "scheduled": "2026-01-01T00:00:00Z",
        "started": "S",
        "containers": [{"name": "vllm", "ready": True, "state": "running", "exit_code": None, "reason": ""}],
        "revision": "",
    }


def test_a_change_that_says_nothing_new_is_not_written_down():
    watch, seen = watcher()
    watch.take("Pod", Change("PRESENT", pod("e0")))
    watch.take("Pod", Change("MODIFIED", pod("e0", version="2")))
    watch.take("Pod", Change("MODIFIED", pod("e0", ready=False, version="3")))
    assert [event.resource_version for event in seen] == ["1", "3"]


def test_the_addresses_of_engines_follow_the_watch():
    watch, _ = watcher()
    watch.take("Pod", Change("ADDED", pod("e0")))
    watch.take("Pod", Change("ADDED", pod("e1", podIP="fd00::1")))
    watch.take("Pod", Change("ADDED", pod("e2", phase="Pending")))
    assert watch.engines() == {"e0": "http://10.1.2.3:8123", "e1": "http://[fd00::1]:8123"}
    watch.take("Pod", Change("DELETED", pod("e0")))
    assert watch.engines() == {"e1": "http://[fd00::1]:8123"}


def test_a_deletion_that_was_missed_keeps_what_was_known_of_the_pod():
    watch, seen = watcher()
    watch.take("Pod", Change("PRESENT", pod("e0")))
    watch.take("Pod", Change("DELETED", {"metadata": {"name": "e0", "uid": "u-e0", "resourceVersion": "9"}}))
    assert (seen[-1].change, seen[-1].role, seen[-1].summary["node"]) == ("deleted", "engine", "n1")


def test_pods_of_no_role_and_old_events_are_left_out():
    watch, seen = watcher()
    watch.take("Pod", Change("PRESENT", {**pod("x"), "metadata": {"name": "x", "uid": "x"}}))
    old = {"metadata": {"name": "v", "uid": "v"}, "reason": "Killing", "involvedObject": {"kind": "Pod", "name": "e0"}}
    watch.take("Event", Change("PRESENT", old))
    assert not seen
    watch.take("Event", Change("ADDED", old))
    assert seen[-1].summary == {"reason": "Killing", "message": "", "object": "pod/e0"}


def test_a_deployment_has_the_role_of_the_pods_that_it_makes():
    watch, seen = watcher()
    template = {"metadata": {"labels": {"app": "engine"}}, "spec": {"containers": []}}
    deployment = {
        "metadata": {"name": "d", "uid": "d"},
        "spec": {"replicas": 3, "template": template},
        "status": {"readyReplicas": 2},
    }
    watch.take("Deployment", Change("PRESENT", deployment))
    assert (seen[0].role, seen[0].summary["desired"], seen[0].summary["ready"]) == ("engine", 3, 2)


def test_an_endpoint_slice_names_the_pods_that_traffic_may_go_to():
    watch, seen = watcher()
    endpoints = [
        {"targetRef": {"name": name}, "conditions": {} if ready is None else {"ready": ready}}
        for name, ready in (("b", True), ("a", None), ("c", False))
    ]
    watch.take("EndpointSlice", Change("ADDED", {"metadata": {"name": "s", "uid": "s"}, "endpoints": endpoints}))
    assert seen[0].summary == {"ready": ["a", "b"]}


async def test_each_kind_is_watched_at_its_own_path_and_bookmarks_say_nothing():
    watch, seen = watcher([Change("BOOKMARK", {"metadata": {}}), Change("PRESENT", pod("e0"))])
    await watch.follow("Pod")
    assert seen[0] == "/api/v1/namespaces/llm/pods"
    assert [event.name for event in seen[1:]] == ["e0"]


def heartbeat() -> Any:
    path = Path(__file__).parents[2] / "probes" / "heartbeat.py"
    spec = importlib.util.spec_from_file_location("heartbeat", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_an_engine_is_stalled_after_five_seconds_without_a_step_with_work_at_hand():
    module = heartbeat()
    beats = [
        (0, 5, 2),
        (1, 6, 2),
        (3, 6, 2),
        (5, 6, 2),
        (6, 6, 2),
        (7, 7, 2),
        (8, 7, 0),
        (20, 7, 0),
        (21, 7, 1),
        (24, 7, 1),
    ]
    said = [module.flat("e", steps, running, now) for now, steps, running in beats]
    assert said == [False, False, False, False, True, False, False, False, False, False]


async def test_the_heartbeat_asks_every_engine_and_passes_over_those_that_are_down():
    module = heartbeat()
    async with Engine() as engine:
        host, port = engine.url.removeprefix("http://").split(":")

        async def pods(role: str) -> list[dict[str, Any]]:
            return [{"status": {"phase": "Running", "podIP": address}} for address in (host, "127.0.0.2")]

        target = SimpleNamespace(pods=pods, stack=SimpleNamespace(roles={"engine": SimpleNamespace(port=int(port))}))
        assert await module.engine_stalled(target) == 0
        module._moved[engine.url] = (72.0, -100.0)
        assert await module.engine_stalled(target) == 1
