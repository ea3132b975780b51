"""A run as it was written down, ready to be read: by the checks, the clocks, the reports, and live by the console.

Times are monotonic seconds as the journal has them; ``relative`` turns them into seconds after time zero, the end of
the baseline. Nothing here judges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from drillbook.model.attack import AttackRecord
from drillbook.model.events import (
    AnyEvent,
    Event,
    FaultChanged,
    FaultState,
    Line,
    Phase,
    PhaseStarted,
    Planned,
    RunEnded,
    RunStarted,
)
from drillbook.model.plan import Plan
from drillbook.model.request import RequestRecord

E = TypeVar("E", bound=Event)


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, monotonic seconds; half open."""

    start: float
    end: float

    @property
    def length(self) -> float:
        return max(0.0, self.end - self.start)

    def __contains__(self, moment: float) -> bool:
        return self.start <= moment < self.end


@dataclass(slots=True)
class History:
    """All lines of a run but the requests, in the order of their monotonic time, and the requests by schedule."""

    lines: list[Line] = field(default_factory=list)
    requests: list[RequestRecord] = field(default_factory=list)
    attacks: list[AttackRecord] = field(default_factory=list)
    """Adversarial prompts, by schedule; no figure of the load reads them."""
    damage: list[str] = field(default_factory=list)
    """What was wrong with the files: torn last lines, gaps in sequences, lines from another boot, a missing end."""

    def events(self, kind: type[E]) -> Iterator[tuple[Line, E]]:
        """All events of one type, each with its line."""
        for line in self.lines:
            event: AnyEvent = line.event
            if isinstance(event, kind):
                yield line, event

    @property
    def started(self) -> RunStarted | None:
        return next((event for _, event in self.events(RunStarted)), None)

    @property
    def plan(self) -> Plan | None:
        return next((event.plan for _, event in self.events(Planned)), None)

    @property
    def ended(self) -> RunEnded | None:
        return next((event for _, event in self.events(RunEnded)), None)

    @property
    def end(self) -> float:
        """The last moment that anything was written."""
        lines = self.lines[-1].mono if self.lines else 0.0
        return max([lines, *(request.end for request in self.requests[-1:])])

    def phases(self) -> dict[Phase, Span]:
        """Each phase that began; the last one ends with the journal."""
        marks = [(event.phase, line.mono) for line, event in self.events(PhaseStarted)]
        ends = [start for _, start in marks[1:]] + [line.mono for line in self.lines[-1:]]
        return {phase: Span(start, end) for (phase, start), end in zip(marks, ends, strict=False)}

    @property
    def zero(self) -> float:
        """Time zero: the end of the baseline (the first line where no injection ever began)."""
        phases = self.phases()
        if Phase.INJECT in phases:
            return phases[Phase.INJECT].start
        return self.lines[0].mono if self.lines else 0.0

    def relative(self, moment: float) -> float:
        return moment - self.zero

    def fault_moment(self, state: FaultState, fault_id: str | None = None) -> float | None:
        """When a fault step (the first, or the one named) reached ``state``."""
        for line, event in self.events(FaultChanged):
            if event.state is state and fault_id in (None, event.id):
                return line.mono
        return None
