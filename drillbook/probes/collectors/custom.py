"""Calls custom probes at their own rhythm. Whatever goes wrong in one becomes a reading that says so, never a pass."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable
from typing import Any

from drillbook import clock
from drillbook.model.events import AnyEvent, Observed
from drillbook.probes.custom import CustomProbe

LEAST_PATIENCE = 1.0
"""Seconds that a call may take at least, however often the probe is called."""


class Sampler:
    """Samples one probe until it is cancelled. A plain function runs in a thread, so that it cannot hold up the run."""

    def __init__(self, probe: CustomProbe, target: Any, emit: Callable[[AnyEvent], object]) -> None:
        self.probe, self._target, self._emit = probe, target, emit
        self._stuck: asyncio.Future[Any] | None = None

    async def run(self) -> None:
        while True:
            began = clock.monotonic()
            value, error = await self._read()
            took = clock.monotonic() - began
            self._emit(Observed(probe=self.probe.name, value=value, error=error, took=took))
            await asyncio.sleep(max(0.0, self.probe.every - took))

    async def _read(self) -> tuple[float | None, str]:
        if self._stuck is not None and not self._stuck.done():
            return None, "an earlier call has not returned yet"
        patience = max(self.probe.every, LEAST_PATIENCE)
        try:
            async with asyncio.timeout(patience):
                return _number(await self._call())
        except TimeoutError:
            return None, f"no answer within {patience:g}s"
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's code may raise anything; `exit()` ends no run
            return None, f"{type(error).__name__}: {error}"

    async def _call(self) -> Any:
        if inspect.iscoroutinefunction(self.probe.sample):
            return await self.probe.sample(self._target)
        self._stuck = asyncio.get_running_loop().run_in_executor(None, self.probe.sample, self._target)
        return await asyncio.shield(self._stuck)


def _number(value: Any) -> tuple[float | None, str]:
    if value is None:
        return None, "it returned nothing"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None, f"it returned a {type(value).__name__}, and a number is wanted"
    if not math.isfinite(value):
        return None, f"it returned {value}"
    return float(value), ""
