"""One run, from the baseline to the proof that nothing is left.

The body (baseline, inject, observe) is one task that anything may end early: a signal, a tripped abort condition, a
bug. What comes after it (undo, settle, verify clean) is not: it runs on every exit, and nothing cancels it. Whether the
target passed is not decided here but by ``check``, from the journal.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.experiments.injection import Injector
from drillbook.experiments.live import baseline_problem, settled, steady, tripped
from drillbook.experiments.recorder import Recorder
from drillbook.load.process import Generator
from drillbook.model.events import AbortTripped, Noted, Phase, PhaseStarted, RunEnded
from drillbook.model.experiment import Experiment
from drillbook.model.verdict import RunStatus, UndoState
from drillbook.probes.collectors import Instrument, Observers
from drillbook.probes.names import ATTACKER, DIED, INSTRUMENT

TICK = 0.5
"""How often abort conditions and the end of the observation are looked at, in seconds."""
FIRST_LOOK = 5.0
"""Seconds that the observers may take to see what is there; what they have not seen by then is told as missing."""
DRAIN_MARGIN = 1.0
"""Seconds beyond the stall time-out that requests in flight are given at the end of a whole run: by then each has ended
or has shown that it hangs. Were they cut off before, a hang would pass as ``unknown``."""
READ_OUT = 5.0
"""Seconds to read what the stopped generator still has to say."""


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
        *,
        recorder: Recorder,
        injector: Injector,
        load: Generator,
        observers: Observers,
        attackers: Sequence[Generator] = (),
    ) -> None:
        self.experiment = experiment
        self.stop = Stop()
        self._recorder, self._injector, self._load, self._observers = recorder, injector, load, observers
        self._attackers = attackers

    async def execute(self) -> RunEnded:
        """Run to the end, whatever happens on the way, and write down how it ended.

        Cancelling this ends the run early, as ``stop.set`` does, and then gives the end as usual: what was broken is
        put back first, however often it is cancelled.
        """
        work = asyncio.create_task(self._carry_out(), name="run")
        while not work.done():
            try:
                await asyncio.wait([work])
            except asyncio.CancelledError as error:
                self.stop.set(RunStatus.INTERRUPTED, str(error) or "cancelled")
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()
        return work.result()

    async def _carry_out(self) -> RunEnded:
        async with self._observing():
            await self._body_until_stopped()
            undo = await self._put_back()
        status, reason, lines = self.stop.status, self.stop.reason, self._recorder.lines
        ended = RunEnded(status=status, undo=undo, reason=reason, lines=lines)
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
        for error in await asyncio.gather(body, watch, stopped, return_exceptions=True):
            if isinstance(error, Exception):
                self._crashed(error)

    async def _body(self) -> None:
        await self._warm_up()
        self._phase(Phase.BASELINE)
        await asyncio.sleep(self.experiment.baseline)
        unhealthy = baseline_problem(self._recorder.history, clock.monotonic())
        if unhealthy:
            self._recorder.note(f"nothing is injected: {unhealthy}")
            return
        self._phase(Phase.INJECT)
        await self._injector.inject_all(clock.monotonic())
        self._phase(Phase.OBSERVE)
        began = clock.monotonic()
        while clock.monotonic() - began < self.experiment.observe:
            await asyncio.sleep(TICK)
            self._injector.look()
            if not self._injector.holding and settled(self._recorder.history, clock.monotonic()):
                return

    async def _warm_up(self) -> None:
        """Load that nothing is read off, until the steady state is seen, and for ``warm-up`` at most.

        Never before the observers have seen what is there: pods that were not told yet would seem to be missing.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._observers.first_look(), FIRST_LOOK)
        began = clock.monotonic()
        while clock.monotonic() - began < self.experiment.warm_up:
            await asyncio.sleep(TICK)
            if steady(self._recorder.history, clock.monotonic()):
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
        self._recorder.forgiving = True
        self._phase(Phase.UNDO)
        await self._injector.undo_all()
        self._phase(Phase.SETTLE)
        try:
            await self._settle()
            await self._stop_load()
        except Exception as error:  # noqa: BLE001 - a bug in what only looks may not skip the proof
            self._crashed(error)
        self._phase(Phase.VERIFY)
        return await self._injector.verify_clean()

    async def _settle(self) -> None:
        """At least ``settle``; of a whole run until what is expected of the undo has happened, or is overdue."""
        if not self._injector.began or self.stop.status not in (RunStatus.COMPLETED, RunStatus.ABORTED):
            return
        whole = self.stop.status is RunStatus.COMPLETED
        least = self.experiment.settle
        most = least + max(step.at for step in self.experiment.method) + self.experiment.observe
        began = clock.monotonic()
        while (passed := clock.monotonic() - began) < most:
            if passed >= least and (not whole or settled(self._recorder.history, clock.monotonic())):
                return
            await asyncio.sleep(min(TICK, max(least - passed, TICK / 5)))
            if whole and self.stop.event.is_set():
                return

    async def _stop_load(self) -> None:
        whole = self._injector.began and self.stop.status is RunStatus.COMPLETED
        drain = self.experiment.load.stall_timeout + DRAIN_MARGIN if whole else 0.0
        await asyncio.gather(*(each.stop(drain=drain) for each in (self._load, *self._attackers)))

    def _phase(self, phase: Phase) -> None:
        self._recorder.emit(PhaseStarted(phase=phase), sync=True)

    def _crashed(self, error: BaseException) -> None:
        """A bug or a vanished target must not skip the undo: it is told by the run's status instead."""
        self.stop.set(RunStatus.CRASHED, self._recorder.keep(error))

    # -- what looks on

    @contextlib.asynccontextmanager
    async def _observing(self) -> AsyncIterator[None]:
        """The load and all instruments, from before the baseline to after the proof that nothing is left."""
        sending = [
            asyncio.create_task(self._absorb_load(), name="load"),
            *(asyncio.create_task(self._absorb_attacks(each), name="attack") for each in self._attackers),
        ]
        tasks = [
            *sending,
            *(asyncio.create_task(self._observe(each), name="instrument") for each in self._observers.instruments),
        ]
        try:
            yield
        finally:
            await asyncio.wait(sending, timeout=READ_OUT)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _absorb_load(self) -> None:
        try:
            async for line in self._load:
                self._recorder.absorb(line)
        except DrillbookError as error:
            # Nobody is watching the users any more, so nothing may stay broken; the missing ticks make the verdict.
            self._recorder.note(str(error))
            self.stop.set(RunStatus.ABORTED, str(error))

    async def _absorb_attacks(self, attacker: Generator) -> None:
        """An attacker that dies takes nothing from the users' side of the run: what was to be told of guardrails is."""
        try:
            async for line in attacker:
                self._recorder.absorb(line)
        except DrillbookError as error:
            self._recorder.emit(Noted(actor=ATTACKER, text=f"{DIED}: {error}"), sync=True)

    async def _observe(self, instrument: Instrument) -> None:
        try:
            await instrument()
        except Exception as error:  # noqa: BLE001 - whatever ails one instrument, the others go on, and so does the run
            told = f"an instrument failed: {self._recorder.keep(error)}"
            self._recorder.emit(Noted(actor=INSTRUMENT, text=told), sync=True)
