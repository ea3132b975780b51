"""One target, for as long as the activities of this process act on it: the undo record, the watchdog, the history."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

import drillbook
from drillbook import site
from drillbook.chaostoolkit.extension.place import Place
from drillbook.errors import DrillbookError, PreflightError, RefusedError, UndoError
from drillbook.experiments import plan as plans
from drillbook.experiments.drill import new_folder, new_run_id
from drillbook.experiments.injection import BITE_SECONDS
from drillbook.experiments.recorder import Recorder
from drillbook.faults import blast
from drillbook.faults.fault import Draw
from drillbook.faults.registry import FAULTS
from drillbook.model.events import FaultChanged, FaultState, Phase, PhaseStarted, RunStarted, UndoRecorded
from drillbook.model.experiment import Limits
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import EntryState, UndoEntry, UndoOperation
from drillbook.targets.target import Target
from drillbook.undo import lease as leases
from drillbook.undo.keeper import Keeper
from drillbook.undo.record import UndoStore
from drillbook.undo.undo import undo_all, undo_entry

TITLE = "Activities of a Chaos Toolkit experiment"


class Session:
    """Use ``of``. What it does is in a run folder of its own, under drillbook's state folder."""

    def __init__(self, place: Place, target: Target) -> None:
        self.place, self.target, self.run_id = place, target, new_run_id()
        self.recorder = Recorder(new_folder(site.state_folder() / "chaostoolkit", "session"))
        self.faults: list[PlannedFault] = []
        self.extras: dict[type, Any] = {}
        """What else lives as long as the session (the traffic), by type."""
        self.acted = False
        """Whether an action was called: before the first there is nothing to measure."""
        self.untested = ""
        """Why a fault did not strike: what is measured after that says nothing of it."""
        self._draw = Draw(1)
        self._store: UndoStore | None = None
        self._stack = AsyncExitStack()
        self._keeper: Keeper | None = None
        self._lock = asyncio.Lock()

    @classmethod
    async def of(cls, configuration: Mapping[str, Any] | None) -> Session:
        """The session of the place that the configuration names; opened when it is first asked for."""
        place = Place.of(configuration)
        if place not in _sessions:
            session = cls(place, await place.open())
            session.recorder.emit(await session._start_line(), sync=True)
            _sessions[place] = session
        return _sessions[place]

    @property
    def injected(self) -> bool:
        """Whether this process ever injected anything here."""
        return any(True for _ in self.recorder.history.events(FaultChanged))

    async def inject(self, fault: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """Plan one fault, arm its undo, inject it, and see that it bit.

        Raises:
            DrillbookError: it was refused or did not bite. What may be in place is undone by ``undo`` or the watchdog.

        """
        self.acted = True
        try:
            return await self._inject(fault, options, seed)
        except Exception as error:  # whatever it was: Chaos Toolkit goes on, and asks its probes all the same
            self.untested = f"{fault} did not strike: {error}"
            raise

    async def _inject(self, fault: str, options: Mapping[str, Any], seed: int) -> dict[str, Any]:
        async with self._lock:
            kind = FAULTS[fault]
            step = kind.step.model_validate({"fault": fault, **options}, by_alias=True, by_name=True)
            self._draw = self._draw if seed == 1 else Draw(seed)
            planned = await kind.plan(step, len(self.faults), self.target, self._draw)
            await blast.check([*self.faults, planned], Limits(), self.target)
            missing = await plans.missing(planned.permissions, self.target)
            if missing:
                raise PreflightError(f"not allowed: {', '.join(map(str, missing))}", "nothing was touched")
            store = await self._armed()
            if not self.faults:
                self.recorder.emit(PhaseStarted(phase=Phase.INJECT), sync=True)
            self.faults.append(planned)
            self._tell(planned.id, FaultState.INJECTING)
            try:
                injected = await kind.inject(planned, self.target, _recording(store, self.recorder, planned))
            except (RefusedError, PreflightError) as error:
                self._tell(planned.id, FaultState.REFUSED, str(error))
                raise
            self._tell(planned.id, FaultState.INJECTED, injected.detail)
            bite = await kind.verify(planned, injected, self.target, BITE_SECONDS)
            self._tell(planned.id, FaultState.BIT if bite.bit else FaultState.NO_BITE, bite.detail)
            if not bite.bit:
                raise RefusedError(f"{fault} did not bite: {bite.detail}", "its undo is armed, and is carried out")
            return {
                "run": self.run_id,
                "fault": planned.id,
                "did": planned.summary,
                "bite": bite.detail,
                "undo": planned.undo_summary,
            }

    async def undo_fault(self, name: str) -> list[dict[str, str]]:
        """Undo the faults of one name; the others are held on.

        Raises:
            UndoError: there is none, or something may be left.

        """
        async with self._lock:
            entries = [] if self._store is None else [e for e in self._store.record.entries if e.fault == name]
            if self._store is None or not entries:
                raise UndoError(f"this process has injected no {name} that could be undone")
            found = [await undo_entry(self._store, entry.id) for entry in reversed(entries)]
            return self._told(found)

    async def undo(self) -> list[dict[str, str]]:
        """Undo all that this process did here, last first, and let go of the target.

        Raises:
            UndoError: something may be left; the watchdog goes on.

        """
        async with self._lock:
            if self._store is None:
                return []
            store, self._store = self._store, None
            entries: list[UndoEntry] = []
            try:
                entries = await undo_all(store, "undo activity")
            finally:
                await self._let_go(store, clean=bool(entries) and not store.record.remaining)
            self.faults = []
            return self._told(entries)

    async def close(self) -> None:
        """Let go of everything, unless a fault is held: then the watchdog finds this process gone, and undoes it."""
        if self._store is None:
            for extra in list(self.extras.values()):
                await extra.end()
            self.recorder.close()
            await self.target.close()

    def _told(self, entries: list[UndoEntry]) -> list[dict[str, str]]:
        for entry in entries:
            state = FaultState.UNDO_FAILED if entry.state is EntryState.FAILED else FaultState.UNDONE
            self._tell(entry.id, state, entry.detail)
        failed = [f"{entry.id}: {entry.detail}" for entry in entries if entry.state is EntryState.FAILED]
        if failed:
            raise UndoError("; ".join(failed), "the watchdog goes on trying; drillbook recover shows what is left")
        return [{"fault": entry.id, "state": entry.state.value, "detail": entry.detail} for entry in entries]

    async def _armed(self) -> UndoStore:
        """Lease, record and watchdog, before the first fault."""
        if self._store is not None:
            return self._store
        lease = await leases.acquire(self.target.kube, self.target.namespace, self.run_id)
        self._stack.push_async_callback(lease.release)
        try:
            folder = self.recorder.folder
            store = await UndoStore.create(self.target.kube, self.target.namespace, self.run_id, TITLE, folder)
            store.fence = lease.check
            self._keeper = await Keeper.start(
                run_id=self.run_id,
                namespace=self.target.namespace,
                kubeconfig=self.target.kubeconfig,
                context=self.target.context,
                folder=folder,
            )
        except BaseException:  # a cancellation too: the Lease would be held for nothing
            await self._stack.aclose()
            raise
        self._store = store
        return store

    async def _let_go(self, store: UndoStore, *, clean: bool) -> None:
        keeper, self._keeper = self._keeper, None
        if clean:
            try:
                await store.remove()
            except DrillbookError:
                clean = False
        if keeper is not None:
            if clean:
                await keeper.goodbye()
            else:
                keeper.abandon()
        await self._stack.aclose()
        self.run_id = new_run_id()  # a record is closed once and for all; whoever injects again gets a new one

    def _tell(self, fault: str, state: FaultState, detail: str = "") -> None:
        self.recorder.emit(FaultChanged(id=fault, state=state, detail=detail), sync=True)

    async def _start_line(self) -> RunStarted:
        load = self.place.load.model_dump(mode="json", by_alias=True)
        slo = self.place.slo.model_dump(mode="json", by_alias=True, exclude_none=True)
        return RunStarted(
            run_id=self.run_id,
            drillbook=drillbook.__version__,
            experiment={"title": TITLE, "load": load, "slo": slo, "steady-state": [], "method": [], "expect": []},
            source="",
            path="",
            sha256="",
            target=self.target.label,
            stack=self.target.stack.name,
            simulated=self.target.simulated,
            endpoint="",
        )


_sessions: dict[Place, Session] = {}


async def close_all() -> None:
    """At the end of the process."""
    for session in _sessions.values():
        await session.close()


def _recording(
    store: UndoStore, recorder: Recorder, planned: PlannedFault
) -> Callable[[tuple[UndoOperation, ...]], Awaitable[None]]:
    async def record(operations: tuple[UndoOperation, ...]) -> None:
        entry = UndoEntry(id=planned.id, fault=planned.fault, operations=operations)
        await store.arm(entry)
        recorder.emit(UndoRecorded(entry=entry), sync=True)

    return record
