"""The watchdog's own journal: ``watchdog.jsonl`` in the run folder, in the form of every other file there."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from drillbook import clock
from drillbook.model.events import AnyEvent, FaultChanged, FaultState, Line, Noted
from drillbook.model.undo import EntryState, UndoEntry

NAME = "watchdog.jsonl"
_STATES = {
    EntryState.ARMED: FaultState.UNDOING,
    EntryState.UNDONE: FaultState.UNDONE,
    EntryState.GONE: FaultState.UNDONE,
    EntryState.SUPERSEDED: FaultState.SUPERSEDED,
    EntryState.FAILED: FaultState.UNDO_FAILED,
}


class Logbook:
    """Appends and fsyncs each line. A folder that is gone or full loses lines, never the undo."""

    def __init__(self, folder: Path | None) -> None:
        self._path = folder / NAME if folder else None
        self._seq = 0

    def note(self, text: str) -> None:
        self._write(Noted(actor="watchdog", text=text))

    def tell(self, entry: UndoEntry) -> None:
        self._write(FaultChanged(id=entry.id, state=_STATES[entry.state], detail=entry.detail))

    def _write(self, event: AnyEvent) -> None:
        if self._path is None:
            return
        line = Line(
            writer="watchdog",
            seq=self._seq,
            boot=clock.boot_id(),
            mono=clock.monotonic(),
            wall=clock.wall(),
            event=event,
        )
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(line) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            return
        self._seq += 1
