"""Reading a container's log back: tail, since, timestamps, limit, and following it while it grows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from drillbook import clock
from drillbook.sandbox.control import times

_POLL = 0.1
"""Seconds between looks at a log that is followed."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What is wanted of a log. ``since`` is in epoch seconds."""

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: float = 0.0
    limit: int | None = None

    @classmethod
    def of(cls, query: dict[str, str]) -> LogQuery:
        """From a kubelet's query string. Raises ValueError."""
        since = 0.0
        if query.get("sinceSeconds"):
            since = clock.wall() - float(query["sinceSeconds"])
        elif query.get("sinceTime"):
            since = times.parse(query["sinceTime"])
        return cls(
            follow=query.get("follow") == "true", timestamps=query.get("timestamps") == "true", since=since,
            tail=int(query["tailLines"]) if query.get("tailLines") else None,
            limit=int(query["limitBytes"]) if query.get("limitBytes") else None,
        )  # fmt: skip


def _render(rows: Iterable[bytes], query: LogQuery) -> bytes:
    out = []
    for row in rows:
        stamp, _, rest = row.partition(b" ")
        _, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if query.since and times.parse(stamp.decode()[:26] + "Z") < query.since:
            continue
        out.append((stamp + b" " if query.timestamps else b"") + text + (b"\n" if tag == b"F" else b""))
    return b"".join(out)


async def read(path: Path, query: LogQuery, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log in pieces; with ``follow`` until ``ended()`` says that its container has. Outlives the file's removal."""
    left = query.limit if query.limit is not None else -1
    chunk, tailing = await asyncio.to_thread(_tail, path, query)
    try:
        while True:
            if left >= 0:
                chunk = chunk[:left]
                left -= len(chunk)
            if chunk:
                yield chunk
            if not query.follow or left == 0:
                return
            over = ended()
            chunk = tailing.more(query)
            if not chunk and over:
                return
            if not chunk:
                await asyncio.sleep(_POLL)
    finally:
        tailing.file.close()


class _Tailing:
    """A log that is read on from where it ended; it stays open, so that its end can be read when it is removed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file = path.open("rb")

    def more(self, query: LogQuery) -> bytes:
        position = self.file.tell()
        data = self.file.read(1 << 20)
        end = data.rfind(b"\n") + 1
        self.file.seek(position + end)
        if not end and self._rotated():
            self.file.close()
            self.file = self._path.open("rb")
        return _render(data[:end].splitlines(), query)

    def _rotated(self) -> bool:
        try:
            return self._path.stat().st_ino != os.fstat(self.file.fileno()).st_ino
        except FileNotFoundError:
            return False


def _tail(path: Path, query: LogQuery) -> tuple[bytes, _Tailing]:
    """What is there, the rotated file included, and the way to what follows."""
    tailing = _Tailing(path)
    data = tailing.file.read()
    end = data.rfind(b"\n") + 1
    tailing.file.seek(end)
    older = path.with_suffix(path.suffix + ".1")
    rows = (older.read_bytes() if older.exists() else b"").splitlines() + data[:end].splitlines()
    if query.tail is not None:
        rows = rows[-query.tail :] if query.tail else []
    return _render(rows, query), tailing
