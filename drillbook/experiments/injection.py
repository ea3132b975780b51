"""The faults of one run: armed, injected, proven, undone. Every step leaves its trace in the journal first."""

from __future__ import annotations

import asyncio

from drillbook import clock
from drillbook.errors import DrillbookError, PreflightError, RefusedError
from drillbook.experiments.recorder import Recorder
from drillbook.faults.registry import FAULTS
from drillbook.model.events import FaultChanged, FaultState, UndoRecorded
from drillbook.model.plan import Plan, PlannedFault
from drillbook.model.undo import LOAD, EntryState, UndoEntry, UndoOperation
from drillbook.model.verdict import UndoState
from drillbook.probes.collectors.evidence import EvidenceKeeper
from drillbook.targets.answers import UnavailableError
from drillbook.targets.kube import REQUEST_SECONDS
from drillbook.targets.target import Target
from drillbook.undo.record import UndoStore
from drillbook.undo.undo import undo_all, undo_entry

BITE_SECONDS = 15.0
"""How long a fault has to show its bite from outside, before the run says that it did not bite."""
UNDO_SECONDS = 30.0
"""How long the undo is tried, over an API server that is away, before the watchdog is left alone with it."""
VERIFY_SECONDS = 10.0
"""How long the last look at what was undone is tried."""

AFTER_UNDO = {
    EntryState.UNDONE: FaultState.UNDONE,
    EntryState.GONE: FaultState.UNDONE,
    EntryState.SUPERSEDED: FaultState.SUPERSEDED,
    EntryState.FAILED: FaultState.UNDO_FAILED,
}


class Injector:
    """Carries out the plan's faults, each on time and in a task of its own, and their undo."""

    def __init__(
        self, plan: Plan, target: Target, store: UndoStore, recorder: Recorder, evidence: EvidenceKeeper
    ) -> None:
        self._evidence = evidence
        self._plan, self._target, self._store, self._recorder = plan, target, store, recorder
        self._steps: list[asyncio.Task[None]] = []
        self._held: set[str] = set()
        self._striking: set[str] = set()
        self._landed = 0.0
        """When every request of ours must have taken effect or never will, monotonic seconds."""
        self._told: dict[str, FaultState] = {}
        """How the undo of each fault was told to have ended; looking at it once more is no news."""

    @property
    def began(self) -> bool:
        """Whether any step was started."""
        return bool(self._steps)

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
        await asyncio.gather(*(event.wait() for event in proven))
        self.look()

    def look(self) -> None:
        """Raises what a step has died of: a bug, or a journal that cannot be written."""
        for step in self._steps:
            if step.done() and not step.cancelled():
                step.result()

    async def _step(self, fault: PlannedFault, zero: float, proven: asyncio.Event) -> None:
        try:
            await asyncio.sleep(max(0.0, zero + fault.at - clock.monotonic()))
            injected = await self._inject(fault)
            proven.set()
            if injected and fault.hold is not None:
                await asyncio.sleep(fault.hold)
            if not injected or fault.hold is not None:
                await self._undo_one(fault)
        finally:
            self._held.discard(fault.id)
            proven.set()

    async def _inject(self, fault: PlannedFault) -> bool:
        async def record(operations: tuple[UndoOperation, ...]) -> None:
            entry = UndoEntry(id=fault.id, fault=fault.fault, operations=operations)
            await self._store.arm(entry)
            self._recorder.emit(UndoRecorded(entry=entry), sync=True)
            if operations:
                self._striking.add(fault.id)

        await self._evidence.before(fault.targets)
        self._tell(fault.id, FaultState.INJECTING)
        try:
            injected = await FAULTS[fault.fault].inject(fault, self._target, record)
        except (RefusedError, PreflightError) as error:
            self._struck(fault, unanswered=isinstance(error, UnavailableError))
            self._tell(fault.id, FaultState.REFUSED, str(error))
            return False
        self._struck(fault, unanswered=injected.unanswered)
        self._tell(fault.id, FaultState.INJECTED, injected.detail)
        bite = await FAULTS[fault.fault].verify(fault, injected, self._target, BITE_SECONDS)
        self._tell(fault.id, FaultState.BIT if bite.bit else FaultState.NO_BITE, bite.detail)
        return True

    def _struck(self, fault: PlannedFault, *, unanswered: bool) -> None:
        self._striking.discard(fault.id)
        if unanswered:
            self._landed = clock.monotonic() + REQUEST_SECONDS

    async def _undo_one(self, fault: PlannedFault) -> None:
        """The step's own undo. Where it fails it is told, and tried again at the end of the run."""
        if fault.id not in {entry.id for entry in self._store.record.remaining}:
            return
        self._tell(fault.id, FaultState.UNDOING)
        try:
            self._tell_undone(await undo_entry(self._store, fault.id, seconds=UNDO_SECONDS))
        except DrillbookError as error:
            self._tell(fault.id, FaultState.UNDO_FAILED, str(error))

    async def undo_all(self) -> None:
        """Close the record to injection, then undo what is still armed, last first. Never raises.

        The load goes on: what sends it is taken away when all is settled, and looked at in ``verify_clean``.
        """
        for step in self._steps:
            step.cancel()
        await asyncio.gather(*self._steps, return_exceptions=True)
        if self._striking:
            self._landed = clock.monotonic() + REQUEST_SECONDS
        for entry in self._faults_left():
            self._tell(entry.id, FaultState.UNDOING)
        try:
            await undo_all(self._store, "runner", seconds=UNDO_SECONDS, tell=self._tell_undone, sparing=LOAD)
        except Exception as error:  # noqa: BLE001 - also after a bug the rest of the run is told, and the watchdog goes on
            told = self._recorder.keep(error)
            for entry in self._faults_left():
                self._tell(entry.id, FaultState.UNDO_FAILED, told)

    async def verify_clean(self) -> UndoState:
        """Look at everything once more; where a request was cut off or not answered, not before it must have landed."""
        if not any(entry.operations for entry in self._store.record.entries):
            return UndoState.NOTHING
        await asyncio.sleep(max(0.0, self._landed - clock.monotonic()))
        try:
            await undo_all(self._store, "runner", seconds=VERIFY_SECONDS, tell=self._tell_undone)
        except Exception as error:  # noqa: BLE001 - what cannot be proven to be clean is not
            self._recorder.note(f"it cannot be seen whether everything is as before: {self._recorder.keep(error)}")
            return UndoState.REMAINS
        return UndoState.REMAINS if self._store.record.remaining else UndoState.CLEAN

    def _faults_left(self) -> list[UndoEntry]:
        return [entry for entry in self._store.record.remaining if entry.id != LOAD]

    def _tell_undone(self, entry: UndoEntry) -> None:
        state = AFTER_UNDO[entry.state]
        if entry.id == LOAD:
            self._recorder.note(f"what sent the load: {entry.detail}")
        elif entry.operations and self._told.get(entry.id) is not state:
            self._told[entry.id] = state
            self._tell(entry.id, state, entry.detail)

    def _tell(self, fault_id: str, state: FaultState, detail: str = "") -> None:
        self._recorder.emit(FaultChanged(id=fault_id, state=state, detail=detail), sync=True)
