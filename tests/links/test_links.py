"""Faults on the links of a real group in the sandbox: held, measured, undone, and nothing left of them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from link_bench import NOTHING, Recorded, ask, cmdline, complete, left, planned, undone

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults.registry import FAULTS
from drillbook.helper import shaping
from drillbook.model.undo import EntryState
from drillbook.targets import paths, transport
from drillbook.targets.target import Target
from drillbook.undo.operations import carry_out

pytestmark = pytest.mark.root

RECORDED = Path(__file__).parents[1] / "targets" / "recorded"


async def test_a_throttle_bites_spares_http_and_leaves_nothing(target: Target) -> None:
    plan, record = await planned("link-throttle", target, rate="128kbit"), Recorded()
    assert "Gloo over TCP" in plan.summary
    assert "2 helper pods" in plan.summary
    leader, worker = await target.pods("engine")
    free = await complete(target, 4)
    injected = await FAULTS["link-throttle"].inject(plan, target, record)
    try:
        bite = await FAULTS["link-throttle"].verify(plan, injected, target, 30)
        assert bite.bit, bite.detail
        assert await complete(target, 4) > max(4 * 9500 * 8 / 128_000 * 0.7, 2 * free)  # its bytes at that rate
        url = f"http://{leader['status']['podIP']}:8080/metrics"
        fetch = f"import time, urllib.request; began = time.monotonic(); page = urllib.request.urlopen({url!r}).read()"
        fetch += "; print(len(page), time.monotonic() - began)"
        said = await target.kube.exec("llm", worker["metadata"]["name"], "vllm-worker", ("python3", "-c", fetch))
        size, seconds = map(float, said.stdout.split())
        assert seconds < 0.5 * size * 8 / 128_000, (
            size,
            seconds,
        )  # the same two pods, the same interface, another port
        assert len((await left(target))["qdiscs"]) == 4
    finally:
        states = await undone(target, record)
    assert states == [EntryState.UNDONE] * 4
    assert await left(target) == NOTHING
    assert await undone(target, record) == [EntryState.GONE] * 2 + [EntryState.UNDONE] * 2  # once more changes nothing
    assert await left(target) == NOTHING


async def test_a_cut_link_hangs_requests_and_leaves_health_green(target: Target) -> None:
    plan, record = await planned("link-cut", target), Recorded()
    (leader, _) = await target.pods("engine")
    injected = await FAULTS["link-cut"].inject(plan, target, record)
    try:
        waiting = asyncio.create_task(complete(target, 2, timeout=60))
        bite = await FAULTS["link-cut"].verify(plan, injected, target, 30)
        assert bite.bit, bite.detail
        assert "nothing comes back now" in bite.detail
        assert not waiting.done()
        await asyncio.to_thread(ask, f"http://{leader['status']['podIP']}:8080/health")
        assert len((await left(target))["tables"]) == 2
    finally:
        states = await undone(target, record)
    assert states == [EntryState.UNDONE] * 4
    await waiting  # TCP sends again, and the step goes on
    assert await left(target) == NOTHING


async def test_one_direction_takes_one_helper(target: Target) -> None:
    plan = await planned("link-loss", target, share="30%", direction="to")
    record = Recorded()
    assert "from vllm-0 to vllm-0-1" in plan.summary
    injected = await FAULTS["link-loss"].inject(plan, target, record)
    try:
        bite = await FAULTS["link-loss"].verify(plan, injected, target, 30)
        assert bite.bit, bite.detail
        assert len((await left(target))["tables"]) == 1
    finally:
        await undone(target, record)
    assert await left(target) == NOTHING


async def test_a_killed_helper_leaves_its_rule_and_the_undo_finds_it(target: Target) -> None:
    plan, record = await planned("link-throttle", target, rate="1mbit", direction="to"), Recorded()
    await FAULTS["link-throttle"].inject(plan, target, record)
    try:
        (name,) = [one for one in (await left(target))["pods"] if "link" in one]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and plan.targets[0].uid in cmdline(entry) and "drillbook.helper" in cmdline(entry):
                os.kill(int(entry.name), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while (await target.kube.get(paths.pod("llm", name)))["status"]["phase"] != "Failed":
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        assert (await left(target))["qdiscs"]  # nobody cleared it
    finally:
        outcomes = [await carry_out(target.kube, each, seconds=60) for each in reversed(record)]
    assert any("taken away: qdisc dbc:" in outcome.detail for outcome in outcomes), outcomes
    assert await left(target) == NOTHING


async def test_a_link_that_somebody_shapes_already_is_left_alone(target: Target) -> None:
    own = ("tc", "qdisc", "add", "dev", "eth0", "root", "handle", "7:", "pfifo")
    await target.kube.exec("llm", "vllm-0", "vllm-leader", own)
    record = Recorded()
    try:
        plan = await planned("link-throttle", target, rate="1mbit", direction="to")
        with pytest.raises(RefusedError, match="a qdisc of its own"):
            await FAULTS["link-throttle"].inject(plan, target, record)
        await undone(target, record)
        said = await target.kube.exec("llm", "vllm-0", "vllm-leader", ("tc", "qdisc", "show", "dev", "eth0"))
        assert "pfifo 7:" in said.stdout
    finally:
        await target.kube.exec("llm", "vllm-0", "vllm-leader", ("tc", "qdisc", "del", "dev", "eth0", "root"))
    assert await left(target) == NOTHING


async def test_a_delay_is_refused_where_the_kernel_cannot(target: Target) -> None:
    tried = await target.kube.exec(
        "llm", "vllm-0", "vllm-leader", ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    )
    if tried.exit_code == 0:
        await target.kube.exec("llm", "vllm-0", "vllm-leader", ("tc", "qdisc", "del", "dev", "lo", "root"))
        pytest.skip("this kernel has netem")
    plan, record = await planned("link-delay", target, delay="50ms"), Recorded()
    with pytest.raises(UnsupportedError, match="netem"):
        await FAULTS["link-delay"].inject(plan, target, record)
    await undone(target, record)
    assert await left(target) == NOTHING


async def test_ranks_that_talk_over_rdma_are_refused_with_what_would_reach_them(target: Target, monkeypatch) -> None:
    log = (RECORDED / "nccl-ib.log").read_text()

    async def find(*_: Any) -> transport.Transport:
        return transport.judge([], [log])

    monkeypatch.setattr(transport, "find", find)
    with pytest.raises(UnsupportedError, match="the ranks in vllm-0, vllm-0-1 talk over NCCL NET/IB") as caught:
        await planned("link-throttle", target, rate="1mbit")
    assert "mlnx_qos" in caught.value.hint


async def test_an_unknown_transport_wants_a_proof_on_the_engine(target: Target, monkeypatch) -> None:
    async def find(*_: Any) -> transport.Transport:
        return transport.judge([], [])

    monkeypatch.setattr(transport, "find", find)
    with pytest.raises(UnsupportedError, match="nothing tells over what") as caught:
        await planned("link-cut", target)
    assert "bites:" in caught.value.hint


async def test_an_engine_in_one_pod_has_no_link(target: Target) -> None:
    with pytest.raises(UnsupportedError, match="all ranks of vllm-0 are in one pod"):
        await planned("link-cut", target, names=["vllm-0"])


@pytest.mark.parametrize("options", [{"group": 3}, {"ranks": [0, 5]}, {"names": ["vllm-9"]}])
async def test_what_is_not_there_is_named(target: Target, options: dict[str, Any]) -> None:
    with pytest.raises(PreflightError, match="step 0"):
        await planned("link-cut", target, **options)


async def test_chaos_mesh_is_refused_where_it_is_not_served(target: Target) -> None:
    with pytest.raises(UnsupportedError, match="no Chaos Mesh"):
        await planned("link-cut", target, driver="chaos-mesh")


def test_a_handle_is_no_default_of_the_kernel() -> None:
    assert int(shaping.HANDLE.rstrip(":"), 16) not in (0, 0x8001)
