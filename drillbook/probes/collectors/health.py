"""Polls ``/health`` of every engine and of the endpoint once a second, and the engines' own account of their work.

This is what load balancers, kubelets and dashboards go by; written down, it shows for how long it all was green.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import aiohttp

from drillbook import clock
from drillbook.model.events import AnyEvent, Observed
from drillbook.probes.collectors import engines
from drillbook.probes.names import HEALTH

EVERY = 1.0
"""Seconds between two polls."""

Emit = Callable[[AnyEvent], object]
Addresses = Callable[[], dict[str, str]]
"""Name and base URL of every engine pod that runs now."""


class HealthPoller:
    """Polls until it is cancelled. An engine that never answered is unknown, not red: it may be out of reach from here,
    or still starting, and its readiness says as much.
    """

    def __init__(self, endpoint: str, addresses: Addresses, emit: Emit, series: Iterable[str] = engines.ALWAYS) -> None:
        """``series``: what is read of the engines' own account."""
        self._endpoint, self._addresses, self._emit = endpoint.rstrip("/"), addresses, emit
        self._series = frozenset(series)
        self._answered: set[str] = set()
        self._busy: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        async with engines.session() as http:
            path = await self._endpoint_path(http)
            try:
                while True:
                    began = clock.monotonic()
                    self._start("", self._poll(http, self._endpoint, path, {"endpoint": self._endpoint}))
                    for name, base in self._addresses().items():
                        self._start(name, self._engine(http, name, base))
                    await asyncio.sleep(max(0.0, EVERY - (clock.monotonic() - began)))
            finally:
                for task in self._busy.values():
                    task.cancel()
                await asyncio.gather(*self._busy.values(), return_exceptions=True)

    def _start(self, name: str, poll: Coroutine[Any, Any, None]) -> None:
        """One poll at a time of each: a slow one is not piled upon, and one that failed is told."""
        task = self._busy.get(name)
        if task is not None and not task.done():
            poll.close()
            return
        if task is not None and (error := task.exception()) is not None:
            poll.close()
            raise error
        self._busy[name] = asyncio.create_task(poll)

    async def _engine(self, http: aiohttp.ClientSession, name: str, base: str) -> None:
        await asyncio.gather(
            self._poll(http, base, "/health", {"replica": name}),
            self._scrape(http, base, name),
        )

    async def _poll(self, http: aiohttp.ClientSession, base: str, path: str, labels: dict[str, str]) -> None:
        began = clock.monotonic()
        key, value, error = next(iter(labels.values())), 0.0, ""
        try:
            async with http.get(base + path) as response:
                value = float(response.status == 200)
                error = "" if value else f"HTTP {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            error = str(problem) or f"no answer within {engines.TIMEOUT_SECONDS:g}s"
        if value:
            self._answered.add(key)
        known = key in self._answered or "endpoint" in labels
        self._emit(
            Observed(
                probe=HEALTH,
                value=value if known else None,
                labels={**labels, "path": path},
                error=error,
                took=clock.monotonic() - began,
            )
        )

    async def _scrape(self, http: aiohttp.ClientSession, base: str, name: str) -> None:
        began = clock.monotonic()
        try:
            found = await engines.metrics(http, base, self._series)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return  # the poll of /health beside it says that the engine does not answer
        for metric, value in found.items():
            self._emit(Observed(probe=metric, value=value, labels={"replica": name}, took=clock.monotonic() - began))

    async def _endpoint_path(self, http: aiohttp.ClientSession) -> str:
        """Gateways do not know ``/health``; what they front knows ``/v1/models``."""
        try:
            async with http.get(f"{self._endpoint}/health") as response:
                return "/v1/models" if response.status in (404, 405) else "/health"
        except (aiohttp.ClientError, TimeoutError, OSError):
            return "/health"
