"""The all-reduce of a tensor parallel group: real bytes over TCP, from each rank to the next, on ephemeral ports."""

from __future__ import annotations

import select
import socket

CHUNK = 1 << 18


class Ring:
    """One rank's place: it sends to the next rank and receives from the one before.

    A ring all-reduce of n bytes over w ranks moves ``2 (w-1)/w n`` bytes over each link; that is what is sent here, so
    a link throttled by ``tc`` slows each step as it slows gloo's or NCCL's socket transport. There are no timeouts, as
    there are none within vLLM's 300 s: a cut link or a dead peer leaves the rank waiting.
    """

    def __init__(self, host: str) -> None:
        self._listener = socket.create_server((host, 0))
        self._world = 1
        self._next: socket.socket | None = None
        self._previous: socket.socket | None = None
        self._zeros = memoryview(bytes(CHUNK))
        self._sink = bytearray(CHUNK)

    @property
    def address(self) -> tuple[str, int]:
        """Where the rank before connects to."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def join(self, host: str, port: int, world: int) -> None:
        """Connect to the next rank, accept the one before.

        :raises OSError: the next rank does not answer.
        """
        self._world = world
        self._next = socket.create_connection((host, port))
        self._previous, _ = self._listener.accept()
        self._listener.close()
        for sock in (self._next, self._previous):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)

    def all_reduce(self, size: int) -> bool:
        """Exchange ``size`` bytes' worth with the neighbours; False when one of them has gone."""
        if self._next is None or self._previous is None:
            return True
        volume = 2 * (self._world - 1) * size // self._world
        to_send = to_receive = volume
        while to_send or to_receive:
            readable, writable, _ = select.select(
                [self._previous] if to_receive else [], [self._next] if to_send else [], []
            )
            try:
                if writable:
                    to_send -= self._next.send(self._zeros[: min(CHUNK, to_send)])
                if readable:
                    count = self._previous.recv_into(self._sink, min(CHUNK, to_receive))
                    if count == 0:
                        return False
                    to_receive -= count
            except BlockingIOError:
                continue
            except OSError:
                return False
        return True

    def close(self) -> None:
        """Leave the group."""
        for sock in (self._listener, self._next, self._previous):
            if sock is not None:
                sock.close()
