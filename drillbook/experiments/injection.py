"""The faults of one run: armed, injected, proven, undone. Every step leaves its trace in the journal first."""

from __future__ import annotations

import asyncio

from drillbook import clock
from drillbook.errors import DrillbookError, PreflightError, RefusedError
from drillbook.experiments.recorder import Recorder
from drillbook.faults.registry import FAULTS
from drillbook.model.events import FaultChanged, FaultState, UndoRecorded
from drillbook.model.plan import Plan, PlannedFault
from drillbook.model.undo import EntryState, UndoEntry, UndoOperation
from drillbook.model.verdict import UndoState
from drillbook.targets.target import Target
from drillbook.undo.record import UndoStore
from drillbook.undo.undo import undo_all, undo_entry

BITE_SECONDS = 15.0
"""How long a fault has to show its bite from outside, before the run says that it did not bite."""

AFTER_UNDO = {
    EntryState.UNDONE: FaultState.UNDONE,
    EntryState.GONE: FaultState.UNDONE,
    EntryState.SUPERSEDED: FaultState.SUPERSEDED,
    EntryState.FAILED: FaultState.UNDO_FAILED,
}


class Injector:
    """Carries out the plan's faults, each on time and in a task of its own, and their undo."""

    def __init__(self, plan: Plan, target: Target, store: UndoStore, recorder: Recorder) -> None:
        self._plan, self._target, self._store, self._recorder = plan, target, store, recorder
        self._steps: list[asyncio.Task[None]] = []
        self._held: set[str] = set()
        self._told: dict[str, FaultState] = {}
        """How the undo of each fault was told to have ended; looking at it once more is no news."""

    @property
    def holding(self) -> bool:
        """Whether a fault is still held whose own undo is yet to come."""
        return bool(self._held)

    async def inject_all(self, zero: float) -> None:
        """Start each step at its time after ``zero``; returns when the last one was injected and had its proof."""
        self._held = {fault.id for fault in self._plan.faults if fault.hold is not None}
        proven = [asyncio.Event() for _ in self._plan.faults]
        self._steps = [
            asyncio.create_task(self._step(fault, zero, event), name=fault.id)
            for fault, event in zip(self._plan.faults, proven, strict=True)
        ]
        try:
            await asyncio.gather(*(event.wait() for event in proven))
        except asyncio.CancelledError:
            await self._end_steps()
            raise

    async def _step(self, fault: PlannedFault, zero: float, proven: asyncio.Event) -> None:
        try:
            await asyncio.sleep(max(0.0, zero + fault.at - clock.monotonic()))
            injected = await self._inject(fault)
            proven.set()
            if injected and fault.hold is not None:
                await asyncio.sleep(fault.hold)
                await self._undo_one(fault)
        finally:
            self._held.discard(fault.id)
            proven.set()

    async def _inject(self, fault: PlannedFault) -> bool:
        async def record(operations: tuple[UndoOperation, ...]) -> None:
            entry = UndoEntry(id=fault.id, fault=fault.fault, operations=operations)
            await self._store.arm(entry)
            self._recorder.emit(UndoRecorded(entry=entry), sync=True)

        self._tell(fault, FaultState.INJECTING)
        try:
            injected = await FAULTS[fault.fault].inject(fault, self._target, record)
        except (RefusedError, PreflightError) as error:
            self._tell(fault, FaultState.REFUSED, str(error))
            return False
        self._tell(fault, FaultState.INJECTED)
        bite = await FAULTS[fault.fault].verify(fault, injected, self._target, BITE_SECONDS)
        self._tell(fault, FaultState.BIT if bite.bit else FaultState.NO_BITE, bite.detail)
        return True

    async def _undo_one(self, fault: PlannedFault) -> None:
        if fault.id not in {entry.id for entry in self._store.record.remaining}:
            return
        self._tell(fault, FaultState.UNDOING)
        self._tell_undone(await undo_entry(self._store, fault.id))

    async def _end_steps(self) -> None:
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)

    async def undo_all(self) -> None:
        """Close the record to injection, then undo what is still armed, last first."""
        await self._end_steps()
        for entry in self._store.record.remaining:
            if entry.operations:
                self._recorder.emit(FaultChanged(id=entry.id, state=FaultState.UNDOING), sync=True)
        try:
            await undo_all(self._store, "runner", tell=self._tell_undone)
        except DrillbookError as error:
            for entry in self._store.record.remaining:
                self._recorder.emit(
                    FaultChanged(id=entry.id, state=FaultState.UNDO_FAILED, detail=str(error)), sync=True
                )

    async def verify_clean(self) -> UndoState:
        """Look once more, after the client's time-outs: a request that was accepted early may have landed late."""
        if not self._store.record.entries:
            return UndoState.NOTHING
        try:
            await undo_all(self._store, "runner")
        except DrillbookError:
            return UndoState.REMAINS
        return UndoState.REMAINS if self._store.record.remaining else UndoState.CLEAN

    def _tell_undone(self, entry: UndoEntry) -> None:
        state = AFTER_UNDO[entry.state]
        if entry.operations and self._told.get(entry.id) is not state:
            self._told[entry.id] = state
            self._recorder.emit(FaultChanged(id=entry.id, state=state, detail=entry.detail), sync=True)

    def _tell(self, fault: PlannedFault, state: FaultState, detail: str = "") -> None:
        self._recorder.emit(FaultChanged(id=fault.id, state=state, detail=detail), sync=True)
