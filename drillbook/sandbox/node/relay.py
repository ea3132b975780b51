"""One relayed TCP connection: bytes, half-closes and resets pass both ways."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

_CONNECT_TIMEOUT = 20.0
"""Seconds until a backend that does not answer counts as unreachable; longer than any client of a drill waits."""


class Relay(asyncio.Protocol):
    """One side. ``choose`` picks the backend when a client has connected; None refuses the connection."""

    def __init__(self, choose: Callable[[], tuple[str, int] | None]) -> None:
        self._choose = choose
        self._transport: asyncio.Transport | None = None
        self._peer: Relay | None = None
        self._early: list[bytes] = []
        self._read_all = False
        self._written_all = False
        self._task: asyncio.Task[None] | None = None

    @classmethod
    def _backend(cls, client: Relay) -> Relay:
        side = cls(lambda: None)
        side._peer = client
        return side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        if self._peer is None:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        target = self._choose()
        if target is None:
            self.reset()
            return
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                _, peer = await loop.create_connection(lambda: Relay._backend(self), *target)
        except OSError:
            self.reset()
            return
        if self._transport is None:
            peer.reset()
            return
        self._peer = peer
        for data in self._early:
            peer.send(data)
        self._early.clear()
        if self._read_all:
            peer.end()

    def data_received(self, data: bytes) -> None:
        if self._peer is None:
            self._early.append(data)
        else:
            self._peer.send(data)

    def eof_received(self) -> bool:
        self._read_all = True
        if self._peer is not None:
            self._peer.end()
        return not self._written_all

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._peer is None:
            return
        if error is None:
            self._peer.end(close=True)
        else:
            self._peer.reset()

    def pause_writing(self) -> None:
        if self._peer is not None:
            self._peer.pause(True)

    def resume_writing(self) -> None:
        if self._peer is not None:
            self._peer.pause(False)

    def pause(self, paused: bool) -> None:
        """Stop reading while the other side cannot be written to."""
        if self._transport is not None:
            (self._transport.pause_reading if paused else self._transport.resume_reading)()

    def send(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def end(self, *, close: bool = False) -> None:
        """The other side will send no more; with ``close`` nor read, which also holds when both have said so."""
        self._written_all = True
        if self._transport is None:
            return
        if close or self._read_all:
            self._transport.close()
        else:
            self._transport.write_eof()

    def reset(self) -> None:
        """End the connection the hard way, as its peer saw it end."""
        if self._transport is None:
            return
        handle = self._transport.get_extra_info("socket")
        if handle is not None:
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()
