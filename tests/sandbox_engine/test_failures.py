"""Each way to break an engine, put to ``sim`` and compared with the recording of real vLLM 0.32."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from engine_observer import SIM, Server, observe, send
from exchanges import skeleton

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUICK = "step=3ms watchdog=1s teardown=50ms leave=200ms linger=100ms worker-grace=400ms worker-term=300ms"
"""The same order of events, in less time: that the default times are the measured ones is a test of its own."""

CORE, WORKER, LAST = "VLLM::EngineCore", "VLLM::Worker", "VLLM::Worker_TP1"
KILL, STOP, TERM = signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM
SCENARIOS: dict[str, dict[str, Any]] = {
    "engine-kill": {"harm": send(KILL, CORE)},
    "engine-kill-streams": {"harm": send(KILL, CORE), "whole": False},
    "engine-kill-idle": {"harm": send(KILL, CORE), "whole": False, "streams": 0},
    "engine-stop": {"harm": send(STOP, CORE), "watch": 2.0},
    "engine-term": {"harm": send(TERM, CORE)},
    "keep-alive": {"harm": send(KILL, CORE), "watch": 2.5, "late": True},
    "worker-kill": {"harm": send(KILL, WORKER)},
    "worker-stop": {"harm": send(STOP, WORKER)},
    "worker-term": {"harm": send(TERM, WORKER)},
    "tp2-engine-kill": {"harm": send(KILL, CORE)},
    "tp2-worker-kill": {"harm": send(KILL, LAST)},
    "tp2-worker-stop": {"harm": send(STOP, LAST), "watch": 2.0},
    "term-hang": {"harm": send(TERM), "watch": 2.0},
    "term-abort": {"harm": send(TERM)},
    "term-drain": {"harm": send(TERM), "late": True},
    "term-idle": {"harm": send(TERM), "whole": False, "streams": 0},
    "api-kill": {"harm": send(KILL)},
}
ARGUMENTS = {"term-drain": ["--shutdown-timeout", "30"]}
ENVIRONMENT = {
    "keep-alive": {"VLLM_KEEP_ALIVE_ON_ENGINE_DEATH": "1"},
    "engine-kill-streams": {"SIM_ENGINE": QUICK + " watchdog=8s"},
    "worker-stop": {"VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS": "6"},
    "term-hang": {"SIM_ENGINE": QUICK + " seed=1"},
    "term-abort": {"SIM_ENGINE": QUICK + " seed=5"},
}
SIDE_BY_SIDE = 4
"""Scenarios that run at the same time: each waits more than it works."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, asyncio.Task[dict[str, Any]]]]:
    """What ``sim`` was seen to do, by scenario; all run side by side."""
    folder = tmp_path_factory.mktemp("failures")
    gate = asyncio.Semaphore(SIDE_BY_SIDE)

    async def run(name: str) -> dict[str, Any]:
        tp = ["-tp", "2"] if name.startswith("tp2") else []
        environment = {"SIM_ENGINE": QUICK} | ENVIRONMENT.get(name, {})
        server = Server([*SIM, *tp, *ARGUMENTS.get(name, [])], env=environment, log=folder / f"{name}.log")
        async with gate:
            try:  # cancelled while it starts, it is there already
                await server.start(within=30)
                return await observe(server, **{"watch": 12.0, "patience": 0.5, **SCENARIOS[name]})
            finally:
                await server.stop()

    tasks = {name: asyncio.create_task(run(name)) for name in SCENARIOS}
    yield tasks
    for task in tasks.values():
        task.cancel()
    await asyncio.gather(*tasks.values(), return_exceptions=True)


def form(observation: dict[str, Any]) -> dict[str, Any]:
    """What must be equal of two observations: everything but times and texts."""
    statuses = [status for _, status in observation["health"]]
    kept: dict[str, Any] = {
        "titles": observation["titles"],
        "last health": statuses[-1],
        "streams": [
            {key: stream[key] for key in ("status", "shape", "last", "ended")} for stream in observation["streams"]
        ],
        "exit": observation["exit"] and observation["exit"][0],
        "models": observation["models"] if statuses[-1] != "refused" else None,
    }
    for key in ("whole", "late whole"):
        answer = observation.get(key)
        if answer:
            body = json.loads(answer["body"]) if answer.get("body") else {}
            choices = [choice["finish_reason"] for choice in body.get("choices", [])]
            kept[key] = {"status": answer["status"], "error": skeleton(body.get("error")), "finish": choices}
    if "late stream" in observation:
        kept["late stream"] = observation["late stream"]
    return kept


@pytest.mark.parametrize("name", list(SCENARIOS))
async def test_sim_fails_as_vllm_was_recorded_to_fail(
    name: str, seen: dict[str, asyncio.Task[dict[str, Any]]], recorded: Path
) -> None:
    real = json.loads((recorded / f"{name}.json").read_text())
    assert form(await seen[name]) == form(real)
    if 503 in (status for _, status in real["health"]) and not name.startswith("term"):
        statuses = [status for _, status in (await seen[name])["health"]]
        # an observer on a busy machine may come too late for the 503, and finds the port refused already
        assert any(status == 503 or isinstance(status, str) for status in statuses), statuses


@pytest.mark.parametrize("name", ["engine-stop", "worker-stop", "tp2-worker-stop", "keep-alive", "engine-kill-streams"])
async def test_a_dead_or_hung_engine_freezes_its_metrics_and_counts_no_error(
    name: str, seen: dict[str, asyncio.Task[dict[str, Any]]], recorded: Path
) -> None:
    for observation in (await seen[name], json.loads((recorded / f"{name}.json").read_text())):
        metrics = {series.partition("{")[0]: values for series, values in observation["metrics"].items()}
        running, steps = metrics["vllm:num_requests_running"], metrics["vllm:iteration_tokens_total_count"]
        assert running[0] == running[1] > 0
        assert steps[0] == steps[1] > 0
        failed = next(values for series, values in observation["metrics"].items() if '"error"' in series)
        assert failed == [0, 0]


async def test_a_hung_engine_stays_healthy_for_as_long_as_it_is_watched(
    seen: dict[str, asyncio.Task[dict[str, Any]]],
) -> None:
    for name in ("engine-stop", "tp2-worker-stop"):
        observation = await seen[name]
        assert [status for _, status in observation["health"]] == [200]
        assert observation["exit"] is None


async def test_the_engine_of_a_killed_server_goes_with_it(seen: dict[str, asyncio.Task[dict[str, Any]]]) -> None:
    observation = await seen["api-kill"]
    assert observation["exit"][0] == -signal.SIGKILL
