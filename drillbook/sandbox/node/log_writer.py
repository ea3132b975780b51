"""A container's log in the CRI format (``time stream F|P line``), as kubelets keep it, written by the runtime."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from drillbook import clock

_LONGEST = 16 * 1024
"""Longer lines are split into partial ones (``P``), as container runtimes do."""
ROTATE_AT = 10 * 1024 * 1024
"""The kubelet's ``containerLogMaxSize``; one older file is kept beside."""


class LogWriter:
    """One per container; each stream's unfinished line is kept until it ends."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = self._open()
        self._size = os.fstat(self._fd).st_size
        self._rest = {"stdout": b"", "stderr": b""}

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)

    def write(self, stream: str, data: bytes) -> None:
        *lines, rest = (self._rest[stream] + data).split(b"\n")
        prefix = f"{datetime.fromtimestamp(clock.wall(), UTC):%Y-%m-%dT%H:%M:%S.%f}000Z {stream} ".encode()
        out = []
        for line in lines:
            while len(line) > _LONGEST:
                out.append(prefix + b"P " + line[:_LONGEST] + b"\n")
                line = line[_LONGEST:]
            out.append(prefix + b"F " + line + b"\n")
        while len(rest) > _LONGEST:
            out.append(prefix + b"P " + rest[:_LONGEST] + b"\n")
            rest = rest[_LONGEST:]
        self._rest[stream] = rest
        self._append(b"".join(out))

    def close(self) -> None:
        for stream, rest in self._rest.items():
            if rest:
                self.write(stream, b"\n")
        os.close(self._fd)

    def _append(self, data: bytes) -> None:
        if not data:
            return
        if self._size + len(data) > ROTATE_AT:
            os.close(self._fd)
            self._path.replace(self._path.with_suffix(self._path.suffix + ".1"))
            self._fd, self._size = self._open(), 0
        self._size += len(data)
        os.write(self._fd, data)
