"""The one record of a run: append-only files of JSON lines, one writer a file, readable after ``kill -9``.

``journal.jsonl`` is the control log: small, and written through at once. ``observations.jsonl``, ``requests-*.jsonl``
and ``attacks-*.jsonl`` are buffered. ``read`` merges them and tells what is damaged instead of guessing around it.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from types import TracebackType

import msgspec

from drillbook import garbage
from drillbook.errors import DrillbookError, UsageError
from drillbook.experiments import stored
from drillbook.experiments.reserve import reserve
from drillbook.load import stamp
from drillbook.model.attack import AttackRecord
from drillbook.model.events import AnyEvent, Line
from drillbook.model.history import History
from drillbook.model.request import RequestRecord

CONTROL_LOG = "journal.jsonl"
OBSERVATIONS = "observations.jsonl"
REQUESTS = "requests-*.jsonl"
ATTACKS = "attacks-*.jsonl"
UNDO = "undo-*.jsonl"
UNDOERS = ("watchdog", "recover")
"""Who may have written those, in the runner's place."""

RESERVE = 1 << 16
"""Bytes set aside for the control log: on a full disk a run can still say that it was undone, and how it ended."""
_BUFFER = 1 << 16
_MAPPED = 1 << 24
_BLOCK = 1 << 18


class Writer:
    """The only writer of one file, which it locks. Continues the sequence of a file that is already there.

    Raises:
        UsageError: another process writes this file.
        DrillbookError: the file system refuses (full, read-only); nothing is half written, and what could not be
            written is kept: the next ``write`` or ``sync`` tries again.

    """

    def __init__(self, folder: Path, writer_name: str, filename: str = CONTROL_LOG) -> None:
        self.path = folder / filename
        self.name = writer_name
        self._limit = 0 if filename == CONTROL_LOG else _BUFFER
        self._pending = bytearray()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise self._failure(error) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise UsageError(
                f"{self.path} is being written by another process", "wait until that run has ended, or name another"
            ) from error
        self._size = os.fstat(self._file).st_size
        self._reserved = 0
        if filename == CONTROL_LOG:
            try:
                self._reserve()
            except OSError as error:
                os.close(self._file)
                raise self._failure(error) from error
        self._seq = self._resume()

    @property
    def count(self) -> int:
        """How many lines the file has, those included that are still to be written."""
        return self._seq

    def write(self, event: AnyEvent, *, sync: bool = False) -> Line:
        """Append one event, stamped now. ``sync`` returns only when it is on the disk."""
        line = stamp.line(self.name, self._seq, event)
        self._pending += msgspec.json.encode(line) + b"\n"
        self._seq += 1
        if len(self._pending) > self._limit:
            self._flush()
        if sync:
            self.sync()
        return line

    def flush(self) -> None:
        """Hand everything to the operating system: it then survives the death of this process."""
        self._flush()

    def sync(self) -> None:
        """Everything written so far survives the death of the machine as well."""
        self._flush()
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Write what is left and let go of the file; closing twice does no harm."""
        if self._file < 0:
            return
        try:
            self._flush()
            if self._reserved:
                os.ftruncate(self._file, self._size)  # gives the rest of the reserve back
        except OSError as error:
            raise self._failure(error) from error
        finally:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.close()

    def _flush(self) -> None:
        written = 0
        try:
            while written < len(self._pending):
                written += os.write(self._file, memoryview(self._pending)[written:])
        except OSError as error:
            self._withdraw(written)
            raise self._failure(error) from error
        self._size += written
        self._pending.clear()
        if self._reserved and self._size + RESERVE // 2 > self._reserved:
            with contextlib.suppress(OSError):  # the half that is left is for the end of the run
                self._reserve()

    def _reserve(self) -> None:
        reserve(self._file, self._size, RESERVE)
        self._reserved = self._size + RESERVE

    def _withdraw(self, written: int) -> None:
        """Take back a line that the file system took only in part, so that it can be written whole later."""
        whole = self._pending.rfind(b"\n", 0, written) + 1
        try:
            os.ftruncate(self._file, self._size + whole)
        except OSError:
            whole = written  # what is there stays; the rest follows it
        self._size += whole
        del self._pending[:whole]

    def _resume(self) -> int:
        if not self._size:
            return 0
        with self.path.open("rb") as file:
            file.seek(max(0, self._size - (1 << 20)))
            tail = file.read()
        if not tail.endswith(b"\n"):
            self._pending += b"\n"
        for row in reversed(tail.splitlines()):
            try:
                return stored.decode(row).seq + 1
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
        return 0

    def _failure(self, error: OSError) -> DrillbookError:
        return DrillbookError(
            f"{self.path}: cannot be written: {error.strerror}",
            "free some space there, or choose another folder with --runs; nothing written before is lost",
        )


def read(folder: Path) -> History:
    """Everything that a run wrote down, in the order of its monotonic time. Never fails over a damaged line.

    Raises:
        UsageError: there is no journal in this folder.

    """
    control = folder / CONTROL_LOG
    if not control.is_file():
        raise UsageError(f"{folder}: no {CONTROL_LOG} here", "name the folder of a run: runs/<experiment>/<time>")
    history = History()
    counts: dict[str, int] = {}
    with garbage.kept():
        buffered = [path for pattern in (REQUESTS, ATTACKS, UNDO) for path in sorted(folder.glob(pattern))]
        for path in [control, folder / OBSERVATIONS, *buffered]:
            if path.is_file():
                _read_file(path, history, counts)
        history.lines.sort(key=attrgetter("mono"))
        history.requests.sort(key=attrgetter("scheduled"))
        history.attacks.sort(key=lambda attack: attack.scheduled)
    if history.started is None:
        history.damage.append(f"{CONTROL_LOG}: no run-started: it is not known what was run")
    if history.ended is None:
        history.damage.append(f"{CONTROL_LOG}: no run-ended: the runner died, or is still running")
    for writer, count in (history.ended.lines if history.ended else {}).items():
        if counts.get(writer, 0) < count:
            history.damage.append(f"the last {count - counts.get(writer, 0)} lines of {writer} are missing")
    return history


def _read_file(path: Path, history: History, counts: dict[str, int]) -> None:
    try:
        data = _bytes(path)
    except OSError as error:
        history.damage.append(f"{path.name}: cannot be read: {error.strerror}")
        return
    expected, boot = 0, history.lines[0].boot if history.lines else ""
    for numbers, lines, requests in _blocks(path.name, data, history.damage):
        _check_order(path.name, numbers, lines, expected, boot, history.damage)
        expected, boot = lines[-1].seq + 1, lines[-1].boot
        counts |= {line.writer: line.seq + 1 for line in lines}
        history.requests += requests
        if len(requests) < len(lines):
            others = [line for line in lines if not isinstance(line.event, RequestRecord)]
            history.attacks += [line.event for line in others if isinstance(line.event, AttackRecord)]
            history.lines += [line for line in others if not isinstance(line.event, AttackRecord)]


def _blocks(
    name: str, data: bytes | mmap.mmap, damage: list[str]
) -> Iterator[tuple[Sequence[int], Sequence[Line], Sequence[RequestRecord]]]:
    """The lines of a file with their numbers, and the requests among them, some hundreds at a time: what is read then
    is still in the cache.
    """
    view, start, count = memoryview(data), 0, 0
    while start < len(data):
        whole = data.rfind(b"\n", start, start + _BLOCK) + 1 or data.find(b"\n", start) + 1
        end = whole if whole and start + _BLOCK < len(data) else len(data)
        try:
            lines, requests = stored.decode_all(view[start:end])
            numbers: Sequence[int] = range(count + 1, count + len(lines) + 1)
            count += len(lines)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            rows = bytes(view[start:end]).split(b"\n")
            numbers, lines = _decode_each(name, rows, count, damage)
            requests = stored.requests(lines)
            count += len(rows) - 1
        if lines:
            yield numbers, lines, requests
        start = end


def _bytes(path: Path) -> bytes | mmap.mmap:
    """Mapped where it is large: what of it nobody asks for is never copied. Logs of requests only ever grow."""
    if path.stat().st_size < _MAPPED or not path.match(REQUESTS):
        return path.read_bytes()
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_order(
    name: str, numbers: Sequence[int], lines: Sequence[Line], expected: int, boot: str, damage: list[str]
) -> None:
    boot = boot or lines[0].boot
    if [line.seq for line in lines] == list(range(expected, expected + len(lines))) and {
        line.boot for line in lines
    } == {boot}:
        return
    for number, line in zip(numbers, lines, strict=True):
        if line.seq != expected:
            missing = line.seq - expected
            what = f"{missing} lines are missing" if missing > 0 else f"sequence {line.seq} after {expected - 1}"
            damage.append(f"{name}:{number}: {what}")
        if line.boot != boot:
            damage.append(f"{name}:{number}: written after a reboot or on another machine ({line.boot})")
            boot = line.boot
        expected = line.seq + 1


def _decode_each(name: str, rows: Sequence[bytes], before: int, damage: list[str]) -> tuple[list[int], list[Line]]:
    numbers, lines = [], []
    for number, row in enumerate(rows, before + 1):
        if not row.strip():
            continue
        try:
            lines.append(stored.decode(row))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            torn = number == before + len(rows)
            damage.append(f"{name}:{number}: {'torn last line' if torn else f'not a line of a journal: {error}'}")
    return numbers, lines
