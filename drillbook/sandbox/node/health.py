"""A running container's probes over time: thresholds, order (startup before the others), and what they lead to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from drillbook import clock
from drillbook.sandbox.node.api import Json
from drillbook.sandbox.node.probe import Timing


class Patient(Protocol):
    """Who is told of the results."""

    def on_started(self) -> None: ...

    def on_ready(self, ready: bool) -> None: ...

    def on_probe_failed(self, kind: str, message: str, *, fatal: bool) -> None: ...


class Health:
    """The probes of one start of one container. ``since`` is its start on the monotonic clock."""

    def __init__(self, container: Json, check: Callable[[Json, float], Awaitable[tuple[bool, str]]], patient: Patient,
                 since: float) -> None:  # fmt: skip
        self._container = container
        self._check = check
        self._patient = patient
        self._since = since
        self.terminating = False
        """Set while the pod shuts down: startup and liveness probes then stop, readiness goes on."""

    async def run(self, *, started: bool = False) -> None:
        """Probe until cancelled, or until a startup or liveness probe has failed for good."""
        startup = self._container.get("startupProbe")
        if startup and not started and not await self._startup(startup):
            return
        self._patient.on_started()
        readiness, liveness = self._container.get("readinessProbe"), self._container.get("livenessProbe")
        if not readiness:
            self._patient.on_ready(True)
        loops = [self._readiness(readiness)] if readiness else []
        if liveness:
            loops.append(self._liveness(liveness))
        await asyncio.gather(*loops)

    async def _delay(self, timing: Timing) -> None:
        await asyncio.sleep(max(0.0, self._since + timing.delay - clock.monotonic()))

    async def _startup(self, probe: Json) -> bool:
        timing, failures = Timing.of(probe), 0
        await self._delay(timing)
        while not self.terminating:
            begun = clock.monotonic()
            ok, message = await self._check(probe, timing.timeout)
            if ok:
                return True
            failures += 1
            fatal = failures >= timing.failures
            self._patient.on_probe_failed("startup", message, fatal=fatal)
            if fatal:
                return False
            await asyncio.sleep(max(0.0, begun + timing.period - clock.monotonic()))
        return False

    async def _readiness(self, probe: Json) -> None:
        timing, failures, successes = Timing.of(probe), 0, 0
        await self._delay(timing)
        while True:
            begun = clock.monotonic()
            ok, message = await self._check(probe, timing.timeout)
            if ok:
                failures, successes = 0, successes + 1
                if successes >= timing.successes:
                    self._patient.on_ready(True)
            else:
                failures, successes = failures + 1, 0
                self._patient.on_probe_failed("readiness", message, fatal=False)
                if failures >= timing.failures:
                    self._patient.on_ready(False)
            await asyncio.sleep(max(0.0, begun + timing.period - clock.monotonic()))

    async def _liveness(self, probe: Json) -> None:
        timing, failures = Timing.of(probe), 0
        await self._delay(timing)
        while not self.terminating:
            begun = clock.monotonic()
            ok, message = await self._check(probe, timing.timeout)
            failures = 0 if ok else failures + 1
            if not ok and not self.terminating:
                fatal = failures >= timing.failures
                self._patient.on_probe_failed("liveness", message, fatal=fatal)
                if fatal:
                    return
            await asyncio.sleep(max(0.0, begun + timing.period - clock.monotonic()))
