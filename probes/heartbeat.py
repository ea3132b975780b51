"""The heartbeat that /health is not: an engine that has requests running and makes no step is stalled.

vLLM answers /health with 200 for as long as its API server lives, also while the engine behind it hangs. What stops in
a hang is ``vllm:iteration_tokens_total_count``. Five seconds without a step are patient enough for a long prefill.
"""

from __future__ import annotations

import aiohttp

from drillbook import clock
from drillbook.probes import probe
from drillbook.probes.collectors import engines
from drillbook.probes.names import ITERATIONS, RUNNING
from drillbook.targets.target import Target

FLAT_SECONDS = 5.0
_moved: dict[str, tuple[float, float]] = {}
"""By engine: its last count of steps, and when it was first seen (or last idle)."""


@probe("engine-stalled", dimension="count", every="1s")
async def engine_stalled(target: Target) -> float:
    """Engines that have requests running and have made no step for five seconds."""
    stalled = 0
    async with engines.session() as http:
        for pod in await target.pods("engine"):
            base = engines.base_url(pod, target)
            if base is None:
                continue
            try:
                found = await engines.metrics(http, base)
            except (aiohttp.ClientError, TimeoutError):
                continue  # an engine that does not answer at all is down, which other probes tell
            stalled += flat(base, found.get(ITERATIONS, 0.0), found.get(RUNNING, 0.0), clock.monotonic())
    return stalled


def flat(engine: str, steps: float, running: float, now: float) -> bool:
    """Whether an engine has been standing still with work at hand for ``FLAT_SECONDS``."""
    before, since = _moved.get(engine, (steps, now))
    if steps != before or not running:
        since = now
    _moved[engine] = steps, since
    return now - since >= FLAT_SECONDS
