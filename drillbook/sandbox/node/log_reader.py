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


def _tail(path: Path, query: LogQuery) -> tuple[bytes, int]:
    """What is there, older file included, and the position behind it."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    older = path.with_suffix(path.suffix + ".1")
    rows = (older.read_bytes() if older.exists() else b"").splitlines() + data[:end].splitlines()
    if query.tail is not None:
        rows = rows[-query.tail:] if query.tail else []
    return _render(rows, query), end


async def read(path: Path, query: LogQuery, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
    """The log in pieces; with ``follow`` until ``ended()`` says that its container has."""
    left = query.limit if query.limit is not None else -1
    chunk, position = await asyncio.to_thread(_tail, path, query)
    inode = _stat(path).st_ino
    while True:
        if left >= 0:
            chunk = chunk[:left]
            left -= len(chunk)
        if chunk:
            yield chunk
        if not query.follow or left == 0:
            return
        chunk = b""
        while not chunk:
            over = ended()
            found = _stat(path)
            if found.st_ino != inode:
                inode, position = found.st_ino, 0
            if found.st_size > position:
                chunk, position = _more(path, position, query)
            elif over:
                return
            if not chunk:
                await asyncio.sleep(_POLL)


def _stat(path: Path) -> os.stat_result:
    return path.stat()


def _more(path: Path, position: int, query: LogQuery) -> tuple[bytes, int]:
    with path.open("rb") as file:
        file.seek(position)
        data = file.read(1 << 20)
    end = data.rfind(b"\n") + 1
    return _render(data[:end].splitlines(), query), position + end
