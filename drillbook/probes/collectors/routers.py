"""Asks each router twice a second how many requests it has handed to which engine: the only account that also has the
requests which a dead engine never saw, and those which a hung one swallowed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp

from drillbook import clock
from drillbook.model.events import AnyEvent, Observed
from drillbook.probes.collectors import engines
from drillbook.probes.names import SENT

EVERY = 0.5
"""Seconds between two looks: the resolution of what is read off them."""
DECISIONS = "vllm_router_policy_decisions_total"
"""vllm-router's count of its choices, by ``worker`` (observed, 0.1.17): every attempt of a request counts, those of its
retries too. Before its first request it has no such series."""
WORKERS = "vllm_router_active_workers"
"""A series that it always has, by which it is known."""
OTHER = "it does not tell where it sends requests: of the routers that are known, vllm-router alone does"

Emit = Callable[[AnyEvent], object]


class RouterPoller:
    """Looks until it is cancelled. ``addresses`` gives name and base URL of the metrics of each router that runs."""

    def __init__(self, addresses: Callable[[], dict[str, str]], emit: Emit) -> None:
        self._addresses, self._emit = addresses, emit

    async def run(self) -> None:
        async with engines.session() as http:
            while True:
                began = clock.monotonic()
                await asyncio.gather(*(self._look(http, name, base) for name, base in self._addresses().items()))
                await asyncio.sleep(max(0.0, EVERY - (clock.monotonic() - began)))

    async def _look(self, http: aiohttp.ClientSession, name: str, base: str) -> None:
        began, sent, error = clock.monotonic(), dict[str, int](), ""
        try:
            text = await engines.exposition(http, base)
        except (aiohttp.ClientError, TimeoutError, OSError) as problem:
            error = f"{base}/metrics: {str(problem) or f'no answer within {engines.TIMEOUT_SECONDS:g}s'}"
        else:
            sent = decisions(text)
            error = "" if sent or WORKERS in text else f"{base}/metrics: {OTHER}"
        labels = {"router": name, **{engine: str(count) for engine, count in sent.items()}}
        value = None if error else float(sum(sent.values()))
        self._emit(Observed(probe=SENT, value=value, labels=labels, error=error, took=clock.monotonic() - began))


def decisions(text: str) -> dict[str, int]:
    """How often each engine was chosen, by its address, over all policies and all ranks of an engine."""
    found: dict[str, int] = {}
    for _, labels, value in engines.samples(text, frozenset({DECISIONS})):
        engine = address(labels.get("worker", ""))
        found[engine] = found.get(engine, 0) + int(value)
    return found


def address(worker: str) -> str:
    """``10.1.0.5`` of ``http://10.1.0.5:8000`` or, of one rank, ``http://10.1.0.5:8000@1``."""
    place = worker.partition("://")[2] or worker
    return place.partition("@")[0].rpartition(":")[0].strip("[]")
