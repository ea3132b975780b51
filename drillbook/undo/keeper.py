"""``Keeper``: the runner's end of the watchdog. It starts it in a session of its own, and says goodbye to it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Self

import msgspec

from drillbook.errors import PreflightError
from drillbook.targets.kube import REQUEST_SECONDS
from drillbook.undo.watchdog import GOODBYE, Orders

START_SECONDS = 20.0
"""The official client alone takes most of a second to import, and a CI machine may be busy."""
LEAVE_SECONDS = 5.0


class Keeper:
    """A running watchdog. While this object's process lives and renews its Lease, the watchdog does nothing."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
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
        heartbeat: float = 5.0,
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
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "drillbook.undo.watchdog"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(orders) + b"\n")
            async with asyncio.timeout(START_SECONDS):
                ready = await process.stdout.readline()
        except (TimeoutError, OSError):
            ready = b""
        if ready != b"ready\n":
            if process.returncode is None:
                process.kill()
            await process.wait()
            raise PreflightError(
                "the watchdog that would undo after a crash does not start",
                hint=f"try: echo | {sys.executable} -m drillbook.undo.watchdog",
            )
        return cls(process)

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    async def goodbye(self) -> None:
        """The run is over and clean: the watchdog leaves. One that is gone already does no harm."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(GOODBYE)
            await self._process.stdin.drain()
            self._process.stdin.close()
        except OSError:
            pass
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def _absolute(path: Path | None) -> str:
    return str(path.absolute()) if path else ""
