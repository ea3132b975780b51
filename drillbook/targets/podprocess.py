"""A program in a container that is talked with while it runs: ``pods/exec`` with its three streams kept open.

Used as a process of ``asyncio`` is, as far as it goes. When the stream breaks off the container runtime closes the
program's stdin; whatever is started here must end by itself then.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any, Self

import aiohttp

from drillbook.errors import DrillbookError
from drillbook.model.undo import ObjectRef
from drillbook.targets import podexec
from drillbook.targets.connection import TRANSPORT_ERRORS, Connection
from drillbook.targets.podexec import ERROR, STDERR, STDIN, STDOUT


class PodProcess:
    """Made by ``start``; ``kill`` it, or ``wait`` for its end."""

    def __init__(self, doing: str) -> None:
        self.stdout, self.stderr = asyncio.StreamReader(), asyncio.StreamReader()
        self._doing = doing
        self._stack = AsyncExitStack()
        self._input: asyncio.Queue[bytes] = asyncio.Queue()
        self._status: dict[str, Any] | None = None
        self._ending: asyncio.Task[None]

    @classmethod
    async def start(cls, connection: Connection, pod: ObjectRef, container: str, argv: tuple[str, ...]) -> Self:
        """Start ``argv`` in the container.

        Raises as ``podexec.run`` does.
        """
        process = cls(f"{argv[-1]} in {pod.name}/{container}")
        opening = podexec.opened(connection, pod.namespace, pod.name, container, argv, stdin=True, ends=False)
        socket = await process._stack.enter_async_context(opening)
        process._ending = asyncio.create_task(process._talk(socket))
        return process

    def write(self, data: bytes) -> None:
        """Send to its stdin; never waits, and is lost where it has ended."""
        self._input.put_nowait(data)

    def kill(self) -> None:
        """Break the stream off: the runtime closes its stdin, and in the sandbox sends it SIGHUP."""
        self._ending.cancel()

    async def wait(self) -> int:
        """Its exit code.

        :raises DrillbookError: the stream broke off, or was (``kill``): how the program ended is not known.
        """
        await asyncio.wait([self._ending])
        return podexec.exit_code(self._status, self._doing)

    async def _talk(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        saying = asyncio.create_task(self._say(socket))
        try:
            await self._hear(socket)
        except (DrillbookError, *TRANSPORT_ERRORS):
            return  # no status came: `wait` says that it broke off
        finally:
            saying.cancel()
            await asyncio.gather(saying, return_exceptions=True)
            try:
                await self._stack.aclose()
            finally:
                self.stdout.feed_eof()
                self.stderr.feed_eof()

    async def _hear(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        outputs = {STDOUT: self.stdout, STDERR: self.stderr}
        async for message in socket:
            if message.type is aiohttp.WSMsgType.BINARY and len(message.data) > 1:
                channel, data = message.data[0], message.data[1:]
                if channel in outputs:
                    outputs[channel].feed_data(data)
                elif channel == ERROR:
                    self._status = json.loads(data)
                    return

    async def _say(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            await socket.send_bytes(bytes([STDIN]) + await self._input.get())
