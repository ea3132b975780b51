"""One event as a line of a run's file, stamped now."""

from __future__ import annotations

from drillbook import clock
from drillbook.model.events import AnyEvent, Line


def line(writer: str, seq: int, event: AnyEvent) -> Line:
    """The line ``seq`` of this writer."""
    return Line(writer=writer, seq=seq, boot=clock.boot_id(), mono=clock.monotonic(), wall=clock.wall(), event=event)
