"""Where every event of a live run goes: to its file, into the live history, and to whoever looks on.

The files come first: an event that could not be written is never shown as having happened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from drillbook.experiments import journal
from drillbook.model.events import AnyEvent, Line, LoadTicked, ObjectChanged, Observed
from drillbook.model.history import History
from drillbook.model.request import RequestRecord


class Sink(Protocol):
    """Looks on while a run happens (console, annotations, pytest). It may not slow the run, and cannot change it."""

    def handle(self, line: Line) -> None:
        """Called with each line, in order, on the runner's event loop."""


class Recorder:
    """The runner's own two files, and the history as it grows."""

    def __init__(self, folder: Path, sinks: tuple[Sink, ...] = ()) -> None:
        self.folder = folder
        self.history = History()
        self._sinks = sinks
        self._control = journal.Writer(folder, "runner", "journal.jsonl")
        self._observations = journal.Writer(folder, "observer", "observations.jsonl")

    def emit(self, event: AnyEvent, *, sync: bool = False) -> Line:
        """Write one event. With ``sync`` it is on the disk when this returns: the step before anything irreversible."""
        writer = self._observations if isinstance(event, Observed | ObjectChanged | LoadTicked) else self._control
        line = writer.write(event, sync=sync)
        self.absorb(line)
        return line

    def absorb(self, line: Line) -> None:
        """Take note of a line that another process has already written (the load generator)."""
        if isinstance(line.event, RequestRecord):
            self.history.requests.append(line.event)
        else:
            self.history.lines.append(line)
        for sink in self._sinks:
            sink.handle(line)

    def close(self) -> None:
        self._observations.close()
        self._control.close()
