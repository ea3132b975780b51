"""One run, from the baseline to the proof that nothing is left.

The body (baseline, inject, observe) is one task that anything may end early: a signal, a tripped abort condition, a
bug. What comes after it (undo, settle, verify clean) is not: it runs on every exit, and nothing cancels it. Whether the
target passed is not decided here but by ``check``, from the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.experiments.injection import Injector
from drillbook.experiments.live import baseline_problem, settled, tripped
from drillbook.experiments.recorder import Recorder
from drillbook.load.process import Generator
from drillbook.model.events import AbortTripped, Noted, Phase, PhaseStarted, RunEnded
from drillbook.model.experiment import Experiment
from drillbook.model.plan import Plan
from drillbook.model.verdict import RunStatus, UndoState

TICK = 0.5
"""How often abort conditions and the end of the observation are looked at, in seconds."""
DRAIN_MARGIN = 1.0
"""Seconds beyond the stall time-out that requests in flight are given at the end of a whole run: by then each has ended
or has shown that it hangs. Were they cut off before, a hang would pass as ``unknown``."""
READ_OUT = 5.0
"""Seconds to read what the stopped generator still has to say."""

Instrument = Callable[[], Awaitable[None]]
"""Something that observes until it is cancelled: a watch, a health poller, a custom probe."""


@dataclass
class Stop:
    """Set once, from wherever the run is told to end early."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    status: RunStatus = RunStatus.COMPLETED
    reason: str = ""

    def set(self, status: RunStatus, reason: str) -> None:
        if not self.event.is_set():
            self.status, self.reason = status, reason
            self.event.set()


class Run:
    """Carries out one plan. ``execute`` once; ``stop.set`` from anywhere ends it early, with undo."""

    def __init__(
        self,
        experiment: Experiment,
        plan: Plan,
        *,
        recorder: Recorder,
        injector: Injector,
        load: Generator,
        instruments: Sequence[Instrument],
    ) -> None:
        self.experiment, self.plan = experiment, plan
        self.stop = Stop()
        self._recorder, self._injector, self._load, self._instruments = recorder, injector, load, instruments

    async def execute(self) -> RunEnded:
        """Run to the end, whatever happens on the way, and write down how it ended."""
        async with self._observing():
            await self._body_until_stopped()
            undo = await self._put_back()
        ended = RunEnded(status=self.stop.status, undo=undo, reason=self.stop.reason)
        self._recorder.emit(ended, sync=True)
        return ended

    # -- the body: may be ended early at any await

    async def _body_until_stopped(self) -> None:
        body = asyncio.create_task(self._body(), name="body")
        watch = asyncio.create_task(self._watch_abort_conditions(), name="abort conditions")
        stopped = asyncio.create_task(self.stop.event.wait(), name="stop")
        await asyncio.wait([body, stopped, watch], return_when=asyncio.FIRST_COMPLETED)
        for task in (body, watch, stopped):
            task.cancel()
        results = await asyncio.gather(body, watch, stopped, return_exceptions=True)
        for error in results[:2]:
            if isinstance(error, Exception):
                # A bug or a vanished target must not skip the undo: it is told by the run's status instead.
                self.stop.set(RunStatus.CRASHED, f"{type(error).__name__}: {error}")

    async def _body(self) -> None:
        await asyncio.sleep(self.experiment.warm_up)
        self._phase(Phase.BASELINE)
        await asyncio.sleep(self.experiment.baseline)
        unhealthy = baseline_problem(self._recorder.history, clock.monotonic())
        if unhealthy:
            self._recorder.emit(Noted(actor="runner", text=f"nothing is injected: {unhealthy}"))
            return
        self._phase(Phase.INJECT)
        zero = clock.monotonic()
        await self._injector.inject_all(zero)
        self._phase(Phase.OBSERVE)
        began = clock.monotonic()
        while clock.monotonic() - began < self.experiment.observe:
            await asyncio.sleep(TICK)
            if not self._injector.holding and settled(self._recorder.history, clock.monotonic()):
                return

    async def _watch_abort_conditions(self) -> None:
        """Fails closed: a condition that cannot be read trips like one that is met."""
        while True:
            await asyncio.sleep(TICK)
            for condition in self.experiment.abort_when:
                detail = tripped(self._recorder.history, condition, clock.monotonic())
                if detail:
                    self._recorder.emit(AbortTripped(condition=condition.text, detail=detail), sync=True)
                    self.stop.set(RunStatus.ABORTED, f"{condition.text}: {detail}")
                    return

    # -- the end: runs on every exit

    async def _put_back(self) -> UndoState:
        self._phase(Phase.UNDO)
        await self._injector.undo_all()
        self._phase(Phase.SETTLE)
        if self.stop.status in (RunStatus.COMPLETED, RunStatus.ABORTED):
            await asyncio.sleep(self.experiment.settle)
        whole = self.stop.status is RunStatus.COMPLETED
        await self._stop_load(self.experiment.load.stall_timeout + DRAIN_MARGIN if whole else 0.0)
        self._phase(Phase.VERIFY)
        return await self._injector.verify_clean()

    async def _stop_load(self, drain: float) -> None:
        try:
            await self._load.stop(drain=drain)
        except DrillbookError as error:
            self._recorder.emit(Noted(actor="runner", text=f"the load generator: {error}"))

    def _phase(self, phase: Phase) -> None:
        self._recorder.emit(PhaseStarted(phase=phase), sync=True)

    # -- what looks on

    @contextlib.asynccontextmanager
    async def _observing(self) -> AsyncIterator[None]:
        """The load and all instruments, from before the baseline to after the proof that nothing is left."""
        tasks = [asyncio.create_task(self._absorb_load(), name="load")]
        tasks += [asyncio.create_task(self._instrument(each), name="instrument") for each in self._instruments]
        try:
            yield
        finally:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(tasks[0]), timeout=READ_OUT)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _absorb_load(self) -> None:
        try:
            async for line in self._load:
                self._recorder.absorb(line)
        except DrillbookError as error:
            # The records end here, and the missing ticks make the verdict inconclusive.
            self._recorder.emit(Noted(actor="runner", text=f"the load generator failed: {error}"), sync=True)

    async def _instrument(self, instrument: Instrument) -> None:
        try:
            await instrument()
        except DrillbookError as error:
            self._recorder.emit(Noted(actor="runner", text=f"an instrument failed: {error}"), sync=True)
