"""Server-sent events, parsed as the bytes come in, however the network cut them.

Follows the parsing rules of the HTML standard (section 9.2.6, "Interpreting an event stream"): LF, CRLF and CR end a
line, a leading byte-order mark is skipped, lines that begin with a colon are comments, several ``data`` lines join with
LF, an event without data is dropped. ``id`` and ``retry`` steer reconnection, which a load client never does: ignored.
"""

from __future__ import annotations

from typing import NamedTuple

LIMIT = 1 << 20
"""Bytes that one event may have. vLLM's largest (log-probabilities of a long chunk) are a few kilobytes."""

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; ``name`` is empty where the stream gave none (a browser would say ``message``)."""

    data: str
    name: str = ""


class SseError(ValueError):
    """The stream cannot be read any further."""


class Parser:
    """Feed it bytes, take whole events.

    Raises:
        SseError: an event grew past ``limit`` bytes.

    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._partial: list[bytes] = []
        """The pieces of a line whose end has not come: joined once, so that tiny chunks cost no quadratic copying."""
        self._partial_size = 0
        self._data_size = 0
        self._after_cr = False
        self._begun = False
        self._data: list[bytes] = []
        self._name = b""

    def feed(self, chunk: bytes) -> list[Event]:
        """Take the next bytes of the stream and give the events that they complete."""
        if not chunk:
            return []
        if self._after_cr and chunk[0] == 0x0A:  # the second half of a CRLF that was cut between two chunks
            chunk = chunk[1:]
        self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk[-1] == 0x0D
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = chunk.split(b"\n")
        if len(lines) == 1:
            self._keep(chunk)
            return []
        self._partial.append(lines[0])
        lines[0] = b"".join(self._partial)
        rest = lines.pop()
        self._drop_partial()
        events = []
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
        self._keep(rest)
        return events

    def finish(self) -> Event | None:
        """What is left when the stream has ended.

        The standard drops an event without its blank line; a server that forgets only that has still said its
        ``[DONE]``, so it is given here, and the caller knows that it may be cut.
        """
        line = b"".join(self._partial)
        self._drop_partial()
        self._line(line)
        return self._dispatch()

    def _keep(self, piece: bytes) -> None:
        if piece:
            self._partial.append(piece)
            self._partial_size += len(piece)
            self._check(self._partial_size)

    def _drop_partial(self) -> None:
        self._partial.clear()
        self._partial_size = 0

    def _check(self, line_size: int) -> None:
        if self._data_size + line_size > self._limit:
            raise SseError(f"an event of the stream is larger than {self._limit:,} bytes")

    def _line(self, line: bytes) -> Event | None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        self._check(len(line))
        if line.startswith(b"data:"):
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            self._data_size += len(line)
        elif line == b"data":
            self._data.append(b"")
        elif line.startswith(b"event:"):
            self._name = line[6:].removeprefix(b" ")
        return None

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._name
        self._data_size = 0
        self._name = b""
        if not data:
            return None
        self._data = []
        return Event(b"\n".join(data).decode("utf-8", "replace"), name.decode("utf-8", "replace") if name else "")
