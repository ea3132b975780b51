"""Where every event of a live run goes: to its file, into the live history, and to whoever looks on.

The files come first: an event that could not be written is never shown as having happened.
"""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Protocol

from drillbook.errors import DrillbookError
from drillbook.experiments import journal
from drillbook.model.attack import AttackRecord
from drillbook.model.events import AnyEvent, EvidenceKept, Line, LoadTicked, Noted, ObjectChanged, Observed
from drillbook.model.history import History
from drillbook.model.request import RequestRecord

TRACEBACKS = "tracebacks.txt"
"""In the run folder: what a bug of ours, of a probe's or of a sink's left behind."""


class Sink(Protocol):
    """Looks on while a run happens (console, annotations, pytest). It may not slow the run, and cannot change it."""

    def handle(self, line: Line) -> None:
        """Called with each line, in order, on the runner's event loop."""


class Recorder:
    """The runner's own two files, and the history as it grows."""

    def __init__(self, folder: Path, sinks: tuple[Sink, ...] = ()) -> None:
        self.folder = folder
        self.history = History()
        self.forgiving = False
        """Set once there is something to undo: from then on a full disk loses lines, never the undo."""
        self.failure: DrillbookError | None = None
        """Why a line could not be written while that was forgiven, or at the end."""
        self._sinks = list(sinks)
        self._given: dict[str, int] = {}
        self._control = journal.Writer(folder, "runner", "journal.jsonl")
        self._observations = journal.Writer(folder, "observer", "observations.jsonl")

    def emit(self, event: AnyEvent, *, sync: bool = False) -> None:
        """Write one event. With ``sync`` it is on the disk when this returns: the step before anything irreversible.

        Raises:
            DrillbookError: it cannot be written, unless that is forgiven.

        """
        writer = self._observations if isinstance(event, Observed | ObjectChanged | LoadTicked) else self._control
        try:
            line = writer.write(event, sync=sync)
        except DrillbookError as error:
            if not self.forgiving:
                raise
            self.failure = self.failure or error
        else:
            self.absorb(line)

    def absorb(self, line: Line) -> None:
        """Take note of a line that is on its file already; the load generator writes its own."""
        if line.writer not in (self._control.name, self._observations.name):
            self._given[line.writer] = line.seq + 1
        if isinstance(line.event, RequestRecord):
            self.history.requests.append(line.event)
        elif isinstance(line.event, AttackRecord):
            self.history.attacks.append(line.event)
        else:
            self.history.lines.append(line)
        for sink in tuple(self._sinks):
            try:
                sink.handle(line)
            except Exception as error:  # noqa: BLE001 - who looks on, and breaks, may not break the run
                self._sinks.remove(sink)
                self.note(f"{type(sink).__name__} looks on no more: {self.keep(error)}")

    @property
    def lines(self) -> dict[str, int]:
        """How many lines there are of each writer but the control log's, written or given to us."""
        return {self._observations.name: self._observations.count, **self._given}

    def note(self, text: str) -> None:
        """Write down a remark of the runner's own."""
        self.emit(Noted(actor="runner", text=text), sync=True)

    def keep(self, error: BaseException) -> str:
        """The error in one line; the traceback of a bug goes to the run folder."""
        if isinstance(error, DrillbookError):
            return str(error)
        told = f"{type(error).__name__}: {error}"
        try:
            with (self.folder / TRACEBACKS).open("a", encoding="utf-8") as file:
                file.writelines([*traceback.format_exception(error), "\n"])
        except OSError as reason:
            return f"{told} (its traceback could not be kept: {reason.strerror})"
        self.emit(EvidenceKept(what=f"traceback of {told}", path=TRACEBACKS), sync=True)
        return told

    def close(self) -> None:
        """Write what is left, and let go of the files; ``failure`` says what could not be written down."""
        for writer in (self._observations, self._control):
            try:
                writer.close()
            except DrillbookError as error:
                self.failure = self.failure or error
