"""Open-loop load and the instruments beside it, for as long as the session lives; probes read what they wrote."""

from __future__ import annotations

import asyncio
import math
from contextlib import AsyncExitStack

from drillbook import clock
from drillbook.chaostoolkit.extension.session import Session
from drillbook.errors import DrillbookError, RefusedError
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import Generator
from drillbook.model.events import FaultChanged, FaultState
from drillbook.model.history import Span
from drillbook.probes.collectors.health import HealthPoller
from drillbook.probes.collectors.kinds import KINDS
from drillbook.probes.collectors.kubernetes import KubernetesWatcher
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading

SETTLE = 1.0
"""Seconds beyond a window in which the last of its requests may still end."""
LOOK = 0.5
DRAIN = 1.0


class Traffic:
    """Use ``of``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.began = 0.0
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self.trouble = ""

    @classmethod
    async def of(cls, session: Session) -> Traffic:
        """The session's traffic, begun if it is not under way."""
        found = session.extras.get(cls)
        if found is None:
            found = session.extras[cls] = cls(session)
            try:
                await found._begin()
            except BaseException:  # a cancellation too: the next to ask begins anew, and does not find half of it
                del session.extras[cls]
                raise
        assert isinstance(found, cls)
        return found

    async def end(self) -> int:
        """Stop; gives the number of requests that were sent."""
        del self.session.extras[Traffic]
        for task in self._tasks[1:]:
            task.cancel()
        await self._generator.stop(drain=DRAIN)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._stack.aclose()
        return len(self.session.recorder.history.requests)

    async def _begin(self) -> None:
        target, recorder = self.session.target, self.session.recorder
        config = GeneratorConfig.of(
            self.session.place.load,
            folder=recorder.folder,
            base_url=await target.endpoint(),
            model=await target.model(),
        )
        self._generator = await self._stack.enter_async_context(Generator(config))
        self.began = clock.monotonic()
        watcher = KubernetesWatcher(target.kube, target, recorder.emit)
        poller = HealthPoller(await target.endpoint(), watcher.engines, recorder.emit)
        work = [self._absorb(), *(watcher.follow(kind) for kind in KINDS), poller.run()]
        self._tasks = [asyncio.create_task(each) for each in work]

    async def _absorb(self) -> None:
        try:
            async for line in self._generator:
                self.session.recorder.absorb(line)
        except DrillbookError as error:
            self.trouble = str(error)

    async def measure(self, probe: Probe, seconds: float) -> float:
        """The probe over the last ``seconds``, waiting until there were as many; since the first fault where it is 0.

        Raises:
            RefusedError: it cannot be said; an incomplete measurement passes no tolerance.

        """
        if not seconds:
            return await self.since_injection(probe)
        await asyncio.sleep(max(0.0, self.began + seconds + SETTLE - clock.monotonic()))
        end = clock.monotonic()
        live = Indexed.of(self.session.recorder.history, live=True)
        return self._said(probe, probe.read(live, Span(end - seconds, end)))

    async def since_injection(self, probe: Probe) -> float:
        """A sum or a time since the first fault, or since the load began.

        Raises:
            RefusedError: it cannot be said, or a fault did not strike.

        """
        self._tested(probe)
        index = Indexed.of(self.session.recorder.history)
        since = index.injected if index.injected is not None else self.began
        return self._said(probe, probe.read(index, Span(since, clock.monotonic())))

    async def happened(self, probe: Probe, timeout: float, of: str) -> float:
        """Seconds from the first injection (or, of ``undo``, the last undo) to the event; waits for it.

        Raises:
            RefusedError: it did not happen within ``timeout`` seconds of waiting, or a fault did not strike.

        """
        self._tested(probe)
        until, said = clock.monotonic() + timeout, math.nan
        while True:
            index = Indexed.of(self.session.recorder.history)
            if index.injected is None:
                raise RefusedError(f"{probe.name}: no fault was injected by this process")
            reading = probe.read(index, Span(index.injected, clock.monotonic()))
            if reading.complete and reading.value is not None and reading.value != said:
                # A request that hangs now is known to when its user's patience is over: what holds then, held.
                said = reading.value
                await asyncio.sleep(self.session.place.load.stall_timeout + SETTLE)
                continue
            if reading.complete and reading.value is not None:
                undone = [line.mono for line, event in index.events(FaultChanged) if event.state is FaultState.UNDONE]
                start = undone[-1] if of == "undo" and undone else index.injected
                return max(0.0, reading.value - start)
            if clock.monotonic() > until or self.trouble:
                raise RefusedError(f"not {probe.name} within {timeout:g} s: {self.trouble or reading.reason}")
            await asyncio.sleep(LOOK)

    def _tested(self, probe: Probe) -> None:
        if self.session.untested:
            raise RefusedError(f"{probe.name} says nothing: {self.session.untested}")

    def _said(self, probe: Probe, reading: Reading) -> float:
        if self.trouble:
            raise RefusedError(f"{probe.name}: {self.trouble}")
        if reading.value is None or not reading.complete:
            raise RefusedError(f"{probe.name} cannot be said: {reading.reason or 'there is no reading'}")
        return float(reading.value)


def windowed(probe: Probe) -> bool:
    """Whether it is read over a window of so many seconds."""
    return probe.kind in (Kind.WINDOW, Kind.LEVEL)
