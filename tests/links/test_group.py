"""One engine over two pods: a LeaderWorkerSet group that lives and dies together."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from typing import Any

import pytest

from drillbook.errors import UsageError
from drillbook.sandbox import lifecycle, stack
from drillbook.sandbox.engine import arguments
from drillbook.sandbox.engine.group import Group
from drillbook.sandbox.engine.settings import Settings
from drillbook.sandbox.lifecycle import Sandbox

PODS = "/api/v1/namespaces/llm/pods"


def get(sandbox: Sandbox, path: str) -> Any:
    with urllib.request.urlopen(sandbox.api_url + path, timeout=10) as answer:
        return json.load(answer)


def group(sandbox: Sandbox) -> dict[str, str]:
    """Ready pods of the group, by name, with their uid."""
    selector = "labelSelector=leaderworkerset.sigs.k8s.io/name%3Dvllm"
    return {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in get(sandbox, f"{PODS}?{selector}")["items"]
        if any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions", []))
    }


def complete(sandbox: Sandbox, tokens: int) -> float:
    """Seconds of one answer of so many tokens."""
    body = {"model": stack.MODEL, "prompt": "Hi", "max_tokens": tokens, "ignore_eos": True}
    request = urllib.request.Request(
        f"{sandbox.endpoint}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    began = time.monotonic()
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert json.load(answer)["usage"]["completion_tokens"] == tokens
    return time.monotonic() - began


@pytest.mark.root
async def test_one_pod_lost_restarts_the_group(sandbox: Sandbox) -> None:
    before = group(sandbox)
    assert sorted(before) == ["vllm-0", "vllm-0-1"]
    await asyncio.to_thread(complete, sandbox, 2)
    request = urllib.request.Request(f"{sandbox.api_url}{PODS}/vllm-0-1?gracePeriodSeconds=0", method="DELETE")
    await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=10).close())
    deadline = time.monotonic() + 60
    while sorted(group(sandbox)) != ["vllm-0", "vllm-0-1"] or set(group(sandbox).values()) & set(before.values()):
        assert time.monotonic() < deadline, group(sandbox)
        await asyncio.sleep(0.1)
    reasons = {event["reason"] for event in get(sandbox, "/api/v1/namespaces/llm/events")["items"]}
    assert "RecreateGroupOnPodRestart" in reasons
    while True:  # the router has yet to find the new leader
        try:
            await asyncio.to_thread(complete, sandbox, 2)
            break
        except OSError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.2)


async def test_an_unknown_stack_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        await lifecycle.up("x", stack_name="distribute")
    assert "production-stack, distributed, pipeline" in caught.value.hint


def test_a_target_stack_finds_the_layout_with_its_labels() -> None:
    assert stack.layout_like("leaderworkerset") == "distributed"
    assert stack.layout_like("kserve") is None
    assert stack.same("pipeline", "distributed", exactly=False)
    assert not stack.same("pipeline", "distributed", exactly=True)
    assert not stack.same("production-stack", "distributed", exactly=False)


def test_ranks_are_named_as_vllm_names_them() -> None:
    assert [Group(1).title(0)] == ["Worker"]
    assert [Group(2).title(rank) for rank in range(2)] == ["Worker_TP0", "Worker_TP1"]
    assert [Group(2, stages=2).title(rank) for rank in range(2)] == ["Worker_PP0", "Worker_PP1"]
    assert [Group(4, stages=2).title(rank) for rank in (1, 2)] == ["Worker_PP0_TP1", "Worker_PP1_TP0"]


def test_stages_exchange_less_than_tensor_parallel_ranks() -> None:
    settings = Settings(hidden=256, overhead=100)
    tensor, pipeline = (settings.bytes_of(10, Group(2, 2, stages=stages)) for stages in (1, 2))
    assert (tensor, pipeline) == (25_700, 10_340)


def test_ranks_must_divide_among_the_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments.parse(["m", "-tp", "1", "-pp", "3", "--nnodes", "2"])
    assert "3 ranks" in capsys.readouterr().err
