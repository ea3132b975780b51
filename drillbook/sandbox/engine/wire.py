"""Messages between the processes of one engine: msgpack frames with a length before them, over stream sockets."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import msgspec

LENGTH = struct.Struct("<I")


class Submit(msgspec.Struct, tag=True, array_like=True):
    """API server → EngineCore: generate for this request. ``natural`` is where the answer ends by itself."""

    id: str
    prompt: int
    limit: int
    natural: int


class Abort(msgspec.Struct, tag=True, array_like=True):
    """API server → EngineCore: the client left, or a stop string was met."""

    ids: list[str]


class Drain(msgspec.Struct, tag=True, array_like=True):
    """API server → EngineCore: finish what is running, then exit."""


class Output(msgspec.Struct, array_like=True):
    """One new token of a request; ``finish`` is empty while more will come."""

    id: str
    finish: str
    scheduled_at: float
    preemptions: int


class Stats(msgspec.Struct, array_like=True):
    """What the scheduler tells after a step."""

    running: int
    waiting: int
    kv_usage: float
    tokens: int
    preempted: int


class Ready(msgspec.Struct, tag=True, array_like=True):
    """EngineCore → API server: the model is loaded."""


class Step(msgspec.Struct, tag=True, array_like=True):
    """EngineCore → API server: what one step made."""

    outputs: list[Output]
    stats: Stats


class Dead(msgspec.Struct, tag=True, array_like=True):
    """EngineCore → API server: a fatal error; the process is about to exit."""


class Hello(msgspec.Struct, tag=True, array_like=True):
    """Worker → EngineCore: where this rank accepts its neighbour in the ring."""

    rank: int
    host: str
    port: int


class Join(msgspec.Struct, tag=True, array_like=True):
    """EngineCore → worker: your neighbour's address, and how large the group is."""

    host: str
    port: int
    world: int


class Loaded(msgspec.Struct, tag=True, array_like=True):
    """Worker → EngineCore: the ring is up and the weights are in."""


class Execute(msgspec.Struct, tag=True, array_like=True):
    """EngineCore → worker: run one step of ``seconds`` and exchange ``size`` bytes."""

    number: int
    seconds: float
    size: int


class Done(msgspec.Struct, tag=True, array_like=True):
    """Worker → EngineCore: that step is done."""

    number: int


Message = Submit | Abort | Drain | Ready | Step | Dead | Hello | Join | Loaded | Execute | Done
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def pack(message: Message) -> bytes:
    """One frame."""
    body = _encoder.encode(message)
    return LENGTH.pack(len(body)) + body


class Unpacker:
    """Turns a stream of bytes back into messages."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Yield every message that ``data`` completes."""
        self._pending += data
        while len(self._pending) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._pending)
            end = LENGTH.size + length
            if len(self._pending) < end:
                return
            body = bytes(self._pending[LENGTH.size : end])
            del self._pending[:end]
            yield _decoder.decode(body)


class Channel:
    """A blocking end of a connection between two processes."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._unpacker = Unpacker()
        self._ready: list[Message] = []

    def fileno(self) -> int:
        return self.socket.fileno()

    def send(self, message: Message) -> None:
        """:raises OSError: the other process has gone."""
        self.socket.sendall(pack(message))

    def receive(self) -> list[Message]:
        """Everything that has come, waiting for at least one message; empty when the other process has gone."""
        while True:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return []
            if not data:
                return []
            if messages := list(self._unpacker.feed(data)):
                return messages

    def one(self) -> Message | None:
        """The next message, waiting for it; None when the other process has gone."""
        if not self._ready:
            self._ready = self.receive()
        return self._ready.pop(0) if self._ready else None

    def close(self) -> None:
        self.socket.close()
