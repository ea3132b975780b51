"""One engine over two nodes: the second runs headless, and every step goes over the link between them."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_observer import SIM, Server, children, free_port

HEAD, FAR = "10.211.77.1", "10.211.77.2"


def two_nodes(folder: Path, address: str, *, head: tuple[str, ...] = (), far: tuple[str, ...] = ()) -> list[Server]:
    group = ["-tp", "2", "--nnodes", "2", "--master-addr", address, "--master-port", str(free_port())]
    env = {"SIM_ENGINE": "leave=0 linger=0 teardown=0 worker-grace=200ms worker-term=100ms watchdog=300ms"}
    command = [*SIM, *group]
    return [
        Server([*head, *command, "--node-rank", "0"], env=env, log=folder / "head.log"),
        Server([*far, *command, "--node-rank", "1", "--headless"], env=env, log=folder / "far.log"),
    ]


async def both(servers: list[Server]) -> None:
    head, far = servers
    launching = asyncio.create_task(far.launch())
    await head.start(within=20)
    await launching


async def test_the_far_rank_outlives_its_engine_until_it_is_told_to_end(tmp_path: Path) -> None:
    head, far = two_nodes(tmp_path, "127.0.0.1")
    try:
        await both([head, far])
        assert sorted(head.family.values()) == ["VLLM::EngineCore", "VLLM::Worker_TP0"]
        orphan = far.find("VLLM::Worker_TP1")
        status, _, _ = await head.ask("/v1/completions", {"prompt": "Hello", "max_tokens": 5})
        assert status == 200
        os.kill(head.find("VLLM::EngineCore"), signal.SIGKILL)
        assert await head.gone(within=60) == 0
        assert await far.gone(within=0.5) is None
        assert orphan in children(far.pid)
        os.kill(far.pid, signal.SIGTERM)
        assert await far.gone(within=60) == 0
    finally:
        await head.stop()
        await far.stop()


async def test_a_far_worker_that_dies_ends_the_engine_with_the_next_step(tmp_path: Path) -> None:
    head, far = two_nodes(tmp_path, "127.0.0.1")
    try:
        await both([head, far])
        os.kill(far.find("VLLM::Worker_TP1"), signal.SIGKILL)
        assert await far.gone(within=60) == 0
        assert await head.probe("/health") == 200
        status, _, _ = await head.ask("/v1/completions", {"prompt": "Hello", "max_tokens": 5})
        assert status == 500
        assert await head.gone(within=60) == 0
    finally:
        await head.stop()
        await far.stop()


@pytest.fixture
def link() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a link between them; their names."""
    names = f"sim-a-{os.getpid()}", f"sim-b-{os.getpid()}"

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True)

    for name in names:
        ip("netns", "add", name)
    try:
        ip("-n", names[0], "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", names[1])
        for name, address in zip(names, (HEAD, FAR), strict=True):
            ip("-n", name, "address", "add", f"{address}/30", "dev", "link0")
            ip("-n", name, "link", "set", "link0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            ip("netns", "delete", name)


def took(namespace: str, port: int, tokens: int) -> float:
    """Seconds that one answer takes, asked for inside the first node's namespace."""
    body = f'{{"prompt": "Go", "max_tokens": {tokens}, "ignore_eos": true}}'
    command = ["curl", "-fsS", "-H", "Content-Type: application/json", "-d", body]
    begun = time.monotonic()
    subprocess.run(
        ["ip", "netns", "exec", namespace, *command, f"http://127.0.0.1:{port}/v1/completions"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=30,
    )
    return time.monotonic() - begun


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
async def test_a_throttled_link_slows_every_token_by_its_bytes(tmp_path: Path, link: tuple[str, str]) -> None:
    inside = [("ip", "netns", "exec", name) for name in link]
    servers = two_nodes(tmp_path, HEAD, head=inside[0], far=inside[1])
    try:
        for server in servers:
            await server.launch()
        deadline = time.monotonic() + 20
        while "Application startup complete." not in servers[0].log.read_text():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        times = {}
        for rate in ("", "2mbit", "1mbit"):
            if rate:
                shape = ["root", "tbf", "rate", rate, "burst", "10kb", "latency", "1s"]
                subprocess.run([*inside[1], "tc", "qdisc", "replace", "dev", "link0", *shape], check=True)
            times[rate] = await asyncio.to_thread(took, link[0], servers[0].port, 24)
        # 10 KB a token: 41 ms at 2 Mbit/s, 82 ms at 1 Mbit/s, as a tiny Llama on real vLLM was measured to need.
        assert times["2mbit"] > 0.85
        assert times["1mbit"] > 1.7
        assert max(times.values()) < 34, "every byte crosses the link once"
    finally:
        for server in servers:
            await server.stop()
