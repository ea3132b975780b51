"""Each fault of the run: planned, made, proved to have bitten, undone and proved to be undone."""

from __future__ import annotations

import msgspec

from drillbook.model.events import FaultChanged, FaultState, UndoRecorded
from drillbook.model.history import History
from drillbook.model.plan import BlastRadius, Call, PlannedFault
from drillbook.model.undo import EntryState, UndoEntry


class FaultStep(msgspec.Struct, frozen=True, kw_only=True):
    """One change of a fault's state, seconds after time zero."""

    at: float
    state: FaultState
    detail: str


class FaultFacts(msgspec.Struct, frozen=True, kw_only=True):
    """``bite`` and ``undo`` are the last word on each; their details say what proves it."""

    id: str
    fault: str
    summary: str
    targets: tuple[str, ...]
    planned_at: float
    hold: float | None
    injected_at: float | None
    undone_at: float | None
    calls: tuple[Call, ...]
    """What was sent; what would have been sent where ``injected_at`` is None."""
    radius: BlastRadius
    bite: str
    """``bit``, ``no-bite``, ``refused``, ``not-proved`` or ``not-injected``."""
    bite_detail: str
    undo: str
    """``undone``, ``superseded``, ``undo-failed``, ``gone``, ``pending`` or ``nothing-to-undo``."""
    undo_detail: str
    steps: tuple[FaultStep, ...]


_BITES = (FaultState.BIT, FaultState.NO_BITE, FaultState.REFUSED)
_UNDOS = (FaultState.UNDONE, FaultState.SUPERSEDED, FaultState.UNDO_FAILED)
_ENTRIES = {
    EntryState.UNDONE: "undone",
    EntryState.GONE: "gone",
    EntryState.SUPERSEDED: "superseded",
    EntryState.FAILED: "undo-failed",
    EntryState.ARMED: "pending",
}


def faults(history: History) -> tuple[FaultFacts, ...]:
    """All planned faults, in the order of the method."""
    entries = {event.entry.id: event.entry for _, event in history.events(UndoRecorded)}
    return tuple(_fault(planned, history, entries) for planned in (history.plan.faults if history.plan else ()))


def _fault(planned: PlannedFault, history: History, entries: dict[str, UndoEntry]) -> FaultFacts:
    steps = tuple(
        FaultStep(at=history.relative(line.mono), state=event.state, detail=event.detail)
        for line, event in history.events(FaultChanged)
        if event.id == planned.id
    )
    injected = next((step.at for step in steps if step.state is FaultState.INJECTED), None)
    proof = next((step for step in reversed(steps) if step.state in _BITES), None)
    undo, undo_detail, undone = _undo(planned, steps, entries.get(planned.id))
    return FaultFacts(
        id=planned.id,
        fault=planned.fault,
        summary=planned.summary,
        targets=tuple(str(target) for target in planned.targets),
        planned_at=planned.at,
        hold=planned.hold,
        injected_at=injected,
        undone_at=undone,
        calls=planned.calls,
        radius=planned.radius,
        bite=proof.state.value if proof else ("not-injected" if injected is None else "not-proved"),
        bite_detail=proof.detail if proof else "",
        undo=undo,
        undo_detail=undo_detail or planned.undo_summary,
        steps=steps,
    )


def _undo(
    planned: PlannedFault, steps: tuple[FaultStep, ...], entry: UndoEntry | None
) -> tuple[str, str, float | None]:
    last = next((step for step in reversed(steps) if step.state in _UNDOS), None)
    if last is not None:
        detail = "; ".join(filter(None, (last.detail, entry.detail if entry else "")))
        return last.state.value, detail, last.at if last.state is not FaultState.UNDO_FAILED else None
    if entry is not None and entry.operations:
        return _ENTRIES[entry.state], entry.detail, None
    return ("pending" if planned.undo and steps else "nothing-to-undo"), "", None
