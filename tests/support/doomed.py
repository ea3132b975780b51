"""A doomed runner (``doomed_runner.py``) as a process, and what can be seen of it from outside."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import control_plane as planes
import msgspec
import pytest

from drillbook import clock
from drillbook.model.events import Line
from drillbook.targets.kube import Kube

RUNNER = Path(__file__).with_name("doomed_runner.py")


class Runner:
    """Over one field of an object of its own: see ``doomed_runner.py``."""

    def __init__(self, kube: Kube, namespace: str, folder: Path) -> None:
        self.kube, self.namespace, self.folder = kube, namespace, folder
        self.place = f"/api/v1/namespaces/{namespace}/configmaps/victim"
        self.watchdog = 0

    async def start(self, plane: planes.ControlPlane, *, heartbeat: float = 3.0, settle: float = 0.2) -> None:
        await self.kube.create(
            self.place.removesuffix("/victim"), {"metadata": {"name": "victim"}, "data": {"field": "old"}}
        )
        arguments = [str(plane.kubeconfig), self.namespace, "run-1", str(self.folder), str(heartbeat), str(settle)]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(RUNNER), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        self.watchdog = int((await self.hear()).removeprefix("watchdog "))
        assert await self.hear() == "broken"
        assert await self.field() == "new"

    async def hear(self) -> str:
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().strip()

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n".encode())

    async def field(self) -> str:
        return str((await self.kube.get(self.place))["data"]["field"])

    async def undone(self, seconds: float = 60) -> float:
        """Seconds until the field is as before."""
        began = clock.monotonic()
        while await self.field() != "old":
            assert clock.monotonic() - began < seconds, "not undone in time"
            await asyncio.sleep(0.02)
        return clock.monotonic() - began

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def watchdog_left(self, seconds: float = 60) -> None:
        began = clock.monotonic()
        while Path(f"/proc/{self.watchdog}").exists() and "Z" not in self._state():
            assert clock.monotonic() - began < seconds, "the watchdog stays"
            await asyncio.sleep(0.05)

    def _state(self) -> str:
        with contextlib.suppress(OSError):
            return Path(f"/proc/{self.watchdog}/stat").read_text().rpartition(") ")[2][0]
        return "Z"

    def events(self) -> list:
        (log,) = self.folder.glob("undo-watchdog-*.jsonl")
        return [msgspec.json.decode(row, type=Line).event for row in log.read_bytes().splitlines()]

    async def end(self) -> None:
        """It and its watchdog, whatever state they are in."""
        for pid in (self.process.pid, self.watchdog):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGKILL)
        await self.process.wait()


@pytest.fixture
async def runner(kube: Kube, namespace: str, tmp_path: Path) -> AsyncIterator[Runner]:
    runner = Runner(kube, namespace, tmp_path)
    yield runner
    await runner.end()
