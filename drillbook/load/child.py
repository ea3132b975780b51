"""What runs a generator, as the runner holds it: here a child process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

import msgspec

from drillbook.load.config import GeneratorConfig

_ROOT = Path(__file__).resolve().parents[2]


class Process(Protocol):
    """A generator that runs: lines come from its ``stdout``, complaints from its ``stderr``."""

    pid: int
    """Of this machine; 0 where it runs elsewhere."""
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    def tell(self, line: bytes) -> None:
        """Give it an order; lost where it has ended."""

    def kill(self) -> None:
        """End it at once."""

    async def ended(self) -> str:
        """Wait for its end; how it died, empty where it ended well."""


Launch = Callable[[str, GeneratorConfig], Awaitable[Process]]
"""Starts a module with its config, which is the first line of its stdin."""


class Child:
    """A process of this machine, in a session of its own: Ctrl-C in a terminal is for the runner."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.pid, self.stdout, self.stderr = process.pid, process.stdout, process.stderr
        self._process = process

    def tell(self, line: bytes) -> None:
        """Give it an order; lost where it has ended."""
        assert self._process.stdin is not None
        if self._process.returncode is None:
            with contextlib.suppress(ConnectionError):  # it died this instant; the watch tells
                self._process.stdin.write(line)

    def kill(self) -> None:
        """End it at once."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> str:
        """Wait for its end; how it died, empty where it ended well."""
        return manner(await self._process.wait())


async def launch(module: str, config: GeneratorConfig) -> Child:
    """Start it on this machine."""
    path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", module),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": path},
        start_new_session=True,
    )
    child = Child(process)
    child.tell(msgspec.json.encode(config) + b"\n")
    return child


def manner(code: int) -> str:
    """How a process died that ended with this code; empty where it did not."""
    if code < 0:
        return f"it died: killed by {signal.Signals(-code).name}"
    return f"it died: exit code {code}" if code else ""
