"""Servers under test. ``engine_observer`` and ``exchanges`` lie here and are imported by name."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

sys.path.insert(0, str(Path(__file__).parent))

from engine_observer import SIM, Server

Launch = Callable[..., Coroutine[Any, Any, Server]]


@pytest.fixture(scope="session")
def recorded() -> Path:
    """Real vLLM 0.32, watched by the same observer."""
    return Path(__file__).parent / "recorded"


@pytest_asyncio.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launch]:
    """Start ``sim`` with more arguments and a ``SIM_ENGINE``, or by another command; all are stopped after the test."""
    servers: list[Server] = []

    async def start(*arguments: str, sim: str = "", command: Sequence[str] = SIM, **env: str) -> Server:
        log = tmp_path / f"sim-{len(servers)}.log"
        server = Server([*command, *arguments], env={"SIM_ENGINE": sim} | env, log=log)
        servers.append(server)
        await server.start(within=20)
        return server

    yield start
    for server in servers:
        await server.stop()
