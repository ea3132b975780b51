"""``Keeper``: the runner's end of the watchdog. It starts it in a session of its own, and says goodbye to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Self

import msgspec

from drillbook.errors import PreflightError
from drillbook.model.undo import HEARTBEAT
from drillbook.targets.kube import REQUEST_SECONDS
from drillbook.undo.watchdog import GOODBYE, Orders

START_SECONDS = 20.0
"""The official client alone takes most of a second to import, and a CI machine may be busy."""
LEAVE_SECONDS = 5.0


class Keeper:
    """A running watchdog. While this object's process lives and renews its Lease, the watchdog does nothing.

    It is no child of asyncio's, whose transports kill their processes when they are collected: this one has to outlive
    whatever becomes of the runner's event loop.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(
        cls,
        *,
        run_id: str,
        namespace: str,
        kubeconfig: Path | None,
        context: str,
        folder: Path,
        heartbeat: float = HEARTBEAT,
        settle: float = REQUEST_SECONDS,
    ) -> Self:
        """Start it and wait until it watches. Start it before the first fault, after the Lease and the record.

        :raises PreflightError: it does not come up; nothing may be injected.
        """
        orders = Orders(
            run_id=run_id,
            namespace=namespace,
            kubeconfig=_absolute(kubeconfig),
            context=context,
            folder=_absolute(folder),
            heartbeat=heartbeat,
            runner=os.getpid(),
            settle=settle,
        )
        process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond, and is no child of asyncio's: see above
            [sys.executable, "-m", "drillbook.undo.watchdog"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        keeper = cls(process)
        try:
            async with asyncio.timeout(START_SECONDS):
                ready = await asyncio.to_thread(keeper._order, msgspec.json.encode(orders) + b"\n")
        except (TimeoutError, OSError):
            ready = b""
        except asyncio.CancelledError:
            await keeper._end()
            raise
        if ready != b"ready\n":
            await keeper._end()
            raise PreflightError(
                "the watchdog that would undo after a crash does not start",
                hint=f"try: echo | {sys.executable} -m drillbook.undo.watchdog",
            )
        return keeper

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def goodbye(self) -> None:
        """The run is over and clean: the watchdog leaves. One that is gone already does no harm."""
        self._say(GOODBYE)
        try:
            await asyncio.to_thread(self._process.wait, LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            await self._end()

    def abandon(self) -> None:
        """The run is over and something is left: the watchdog goes on without us, and leaves when all is undone."""
        self._say(b"")

    def _order(self, orders: bytes) -> bytes:
        """Tell it what to do, and wait for its first line; a process that is killed meanwhile ends the wait."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orders)
        self._process.stdin.flush()
        return self._process.stdout.readline()

    def _say(self, words: bytes) -> None:
        """The last words."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(words)
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.stdout.close()

    async def _end(self) -> None:
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._say(b"")


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path else ""
