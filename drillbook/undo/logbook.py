"""What the watchdog and ``recover`` did: ``undo-*.jsonl`` in the run folder, in the form of every other file there.

Each process writes a file of its own, so that a run that was undone by others than its runner can be judged as such.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import msgspec

from drillbook.load import stamp
from drillbook.model.events import AnyEvent, FaultChanged, FaultState, Noted
from drillbook.model.undo import LOAD, EntryState, UndoEntry

_STATES = {
    EntryState.ARMED: FaultState.UNDOING,
    EntryState.UNDONE: FaultState.UNDONE,
    EntryState.GONE: FaultState.UNDONE,
    EntryState.SUPERSEDED: FaultState.SUPERSEDED,
    EntryState.FAILED: FaultState.UNDO_FAILED,
}


class Logbook:
    """Appends each line, and fsyncs what became of an entry. A folder that is gone or full loses lines, no undo."""

    def __init__(self, folder: Path | None, writer: str) -> None:
        self._writer = writer
        self._path = folder / f"undo-{writer}-{secrets.token_hex(4)}.jsonl" if folder else None
        self._seq = 0

    def note(self, text: str) -> None:
        """What is no state of an entry: no undo waits for a disk because of it."""
        self._write(Noted(actor=self._writer, text=text), durable=False)

    def tell(self, entry: UndoEntry) -> None:
        """How the undo of an entry ended. What sent the load is no fault: only that it is left is told as of one."""
        if entry.id == LOAD and entry.state is not EntryState.FAILED:
            self.note(f"{LOAD}: {entry.detail}")
        else:
            self._write(FaultChanged(id=entry.id, state=_STATES[entry.state], detail=entry.detail))

    def _write(self, event: AnyEvent, *, durable: bool = True) -> None:
        if self._path is None:
            return
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(stamp.line(self._writer, self._seq, event)) + b"\n")
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        except OSError:
            return
        self._seq += 1
