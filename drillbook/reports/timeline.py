"""The timeline of an incident review: who did or saw what, when, and where the evidence is."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from drillbook.model import events as ev
from drillbook.model.history import History
from drillbook.model.judgement import Clocks
from drillbook.reports.header import utc
from drillbook.reports.pods import pods
from drillbook.reports.signals import Signal

MOST_ROWS = 500


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds after time zero; ``actor`` is ``drillbook``, ``kubernetes``, ``signal``, ``users`` or a person."""

    t: float
    utc: str
    actor: str
    phase: str
    event: str
    evidence: str


_Bare = tuple[float, str, str, str]
_FAULT_WORDS = {
    ev.FaultState.INJECTING: "injecting",
    ev.FaultState.INJECTED: "injected",
    ev.FaultState.REFUSED: "refused by the target",
    ev.FaultState.BIT: "has bitten",
    ev.FaultState.NO_BITE: "shows no bite",
    ev.FaultState.UNDOING: "undoing",
    ev.FaultState.UNDONE: "undone and verified",
    ev.FaultState.SUPERSEDED: "superseded by someone else's change: left alone",
    ev.FaultState.UNDO_FAILED: "could not be undone",
}


def timeline(history: History, clocks: Clocks, signals: tuple[Signal, ...]) -> tuple[Row, ...]:
    """All rows in the order of time, the first 500 of them."""
    offset = history.lines[0].wall - history.lines[0].mono + history.zero if history.lines else 0.0
    phases = [(history.relative(span.start), phase.value) for phase, span in history.phases().items()]
    bare = [*_journal(history), *_kubernetes(history), *_seen(clocks, signals)]
    return tuple(
        Row(
            t=t,
            utc=utc(offset + t),
            actor=actor,
            phase=next((phase for start, phase in reversed(phases) if start <= t), ""),
            event=event,
            evidence=evidence,
        )
        for t, actor, event, evidence in sorted(bare, key=lambda row: row[0])[:MOST_ROWS]
    )


def _journal(history: History) -> Iterator[_Bare]:
    for line in history.lines:
        words = _words(line.event)
        if words is not None:
            yield history.relative(line.mono), words[0], words[1], f"{line.writer}:{line.seq}"


def _words(event: ev.AnyEvent) -> tuple[str, str] | None:
    match event:
        case ev.RunStarted():
            return "drillbook", f"run {event.run_id} started"
        case ev.PhaseStarted():
            return "drillbook", f"phase {event.phase.value} began"
        case ev.PreflightChecked(ok=False):
            return "drillbook", f"preflight failed: {event.name}: {event.detail}"
        case ev.UndoRecorded(entry=entry) if entry.operations:
            return "drillbook", f"undo of {entry.id}: {entry.state.value}" + (
                f" ({entry.detail})" if entry.detail else ""
            )
        case ev.FaultChanged():
            return "drillbook", f"{event.id} {_FAULT_WORDS[event.state]}" + (
                f": {event.detail}" if event.detail else ""
            )
        case ev.AbortTripped():
            return "drillbook", f"abort condition tripped: {event.condition}: {event.detail}"
        case ev.EvidenceKept():
            return "drillbook", f"kept {event.what} in {event.path}"
        case ev.Noted():
            return event.actor, event.text
        case ev.RunEnded():
            return "drillbook", f"run {event.status.value}, undo {event.undo.value}"
        case _:
            return None


def _kubernetes(history: History) -> Iterator[_Bare]:
    for bar in pods(history).bars:
        for index, span in enumerate(bar.spans):
            if index or span.start > 0:
                yield span.start, "kubernetes", f"pod {bar.name} is {span.state}", bar.node
        if bar.spans and bar.spans[-1].end < history.relative(history.end):
            yield bar.spans[-1].end, "kubernetes", f"pod {bar.name} is gone", bar.node
    for line, event in history.events(ev.ObjectChanged):
        if event.kind == "Event" and history.relative(line.mono) >= 0 and event.change != "deleted":
            text = f"{event.summary.get('reason', '')}: {event.summary.get('message', '')}".strip(": ")
            yield history.relative(line.mono), "kubernetes", text, str(event.summary.get("object", event.name))


def _seen(clocks: Clocks, signals: tuple[Signal, ...]) -> Iterator[_Bare]:
    for moment, words in (
        (clocks.effect, "first harm that a user could see"),
        (clocks.mitigate, "users are served within the steady state again"),
        (clocks.recover, "every desired replica is ready"),
    ):
        if moment.at is not None:
            yield moment.at, "users", words, moment.source
    for signal in signals:
        for start, _ in signal.red:
            yield start, "signal", f"{signal.name} turned red", signal.kind
        for start, _ in signal.green:
            if any(abs(stop - start) < 1e-6 for _, stop in signal.red):
                yield start, "signal", f"{signal.name} is green again", signal.kind
