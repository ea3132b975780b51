"""Where a generator's lines go: to its file and to its parent, neither of which may hold it up.

The file is written by a thread, because a disk can stall; the pipe by the event loop, because a parent can be busy. A
disk that is full is told to the parent once; what could not be written is kept and tried again, from the very byte
where the last write stopped.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from drillbook.load import stamp
from drillbook.model.events import AnyEvent, Noted

FLUSH = 0.25
"""Seconds that a line may wait."""
KEPT = 64 << 20
"""Bytes kept for a disk that takes nothing. Beyond it the file ends where it is; the parent still gets every line."""
FAREWELL = 5.0
"""Seconds at the end for a parent that does not read."""


class Outbox:
    """Use it as ``async with Outbox("load", path) as outbox``; ``put`` never waits.

    Without a path the parent alone has the lines, and keeps them.

    Raises:
        OSError: the file exists already, or cannot be made.

    """

    def __init__(self, writer: str, path: Path | None) -> None:
        self._writer = writer
        self._path = path
        self._seq = 0
        self._encode = msgspec.json.Encoder().encode
        self._for_file = bytearray()
        self._for_pipe = bytearray()
        self._trouble = self._told = ""
        self._full = path is None

    async def __aenter__(self) -> Self:
        if self._path is not None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        loop = asyncio.get_running_loop()
        self._gone = asyncio.Event()
        self._pipe, _ = await loop.connect_write_pipe(lambda: _Hangup(self._gone), sys.stdout)
        self._pumps = [asyncio.create_task(self._pump_pipe()), asyncio.create_task(self._pump_file())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pump in self._pumps:
            pump.cancel()
        await asyncio.wait(self._pumps)
        if self._path is not None:
            await asyncio.to_thread(self._write_file, self._path)
            await asyncio.to_thread(self._sync, self._path)
            self._tell()
        self._write_pipe()
        self._pipe.close()  # after its buffer is empty
        try:
            async with asyncio.timeout(FAREWELL):
                await self._gone.wait()
        except TimeoutError:
            self._pipe.abort()

    def put(self, event: AnyEvent) -> None:
        """Write one event down."""
        data = self._encode(stamp.line(self._writer, self._seq, event)) + b"\n"
        self._seq += 1
        self._for_pipe += data
        self._full = self._full or len(self._for_file) > KEPT
        if not self._full:  # once a line is missing the file stays as it is: a gap would be worse than an end
            self._for_file += data

    async def _pump_pipe(self) -> None:
        while True:
            self._write_pipe()
            await asyncio.sleep(FLUSH)

    async def _pump_file(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            if self._for_file and self._path is not None:
                await asyncio.to_thread(self._write_file, self._path)
                self._tell()

    def _write_pipe(self) -> None:
        if self._for_pipe and not self._pipe.is_closing():
            self._pipe.write(bytes(self._for_pipe))
        self._for_pipe.clear()

    def _write_file(self, path: Path) -> None:
        """Write what waits; in a thread. ``put`` may add behind it meanwhile."""
        waiting = bytes(self._for_file)
        written = 0
        try:
            while written < len(waiting):
                written += os.write(self._file, waiting[written : written + (1 << 20)])
        except OSError as error:
            self._trouble = self._trouble or f"{path.name} cannot be written: {error.strerror}"
        finally:
            del self._for_file[:written]

    def _sync(self, path: Path) -> None:
        try:
            os.fsync(self._file)
            os.close(self._file)
        except OSError as error:
            self._trouble = self._trouble or f"{path.name} cannot be synced: {error.strerror}"

    def _tell(self) -> None:
        """Say it once, not at every flush."""
        if self._trouble and self._trouble != self._told:
            self._told = self._trouble
            self.put(Noted(actor=self._writer, text=self._trouble))


class _Hangup(asyncio.BaseProtocol):
    """Knows when the pipe is closed, by us or by a parent that went away."""

    def __init__(self, gone: asyncio.Event) -> None:
        self._gone = gone

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
