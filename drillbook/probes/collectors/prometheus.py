"""Asks each query of an experiment once a second while the run is live, and once over the whole run at its end.

The live answers are for abort conditions and the console. What is judged is the last one: it has the values that were
scraped too late to be asked for at their time, and no gap because Prometheus was out of reach for a moment.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

from drillbook import clock
from drillbook.model.events import AnyEvent, Observed, SeriesRead
from drillbook.model.experiment import Experiment
from drillbook.probes.collectors.alerts import AlertPoller
from drillbook.probes.names import ALERTS
from drillbook.probes.prometheus import queries
from drillbook.probes.prometheus.client import MOST_STEPS, Prometheus
from drillbook.probes.prometheus.queries import Query
from drillbook.probes.prometheus.source import find
from drillbook.targets.target import Target

EVERY = 1.0
"""Seconds between two answers."""
LAST_SECONDS = 8.0
"""How long the last question of all may take: the run waits for it."""

NO_PROMETHEUS = "no Prometheus is known here (target.prometheus; a sandbox needs the prometheus binary)"

Emit = Callable[[AnyEvent], object]


class QuerySampler:
    """Samples one query until it is cancelled; then reads its whole course."""

    def __init__(self, query: Query, url: str, skew: float, emit: Emit) -> None:
        self._query, self._skew, self._emit = query, skew, emit
        self._client = Prometheus(url)

    async def run(self) -> None:
        began = clock.monotonic()
        try:
            while True:
                asked = clock.monotonic()
                self._emit(await self._sample(asked))
                await asyncio.sleep(max(0.0, EVERY - (clock.monotonic() - asked)))
        finally:
            try:
                async with asyncio.timeout(LAST_SECONDS):
                    self._emit(await self._course(began, clock.monotonic()))
            except TimeoutError:
                self._emit(self._untold(began, f"no answer within {LAST_SECONDS:g}s"))
            finally:
                self._client.close()

    async def _sample(self, asked: float) -> Observed:
        answer = await self._client.value(self._query.promql)
        labels = {"promql": self._query.promql}
        if answer.value is not None and self._query.age:
            age = (await self._client.value(self._query.age)).value
            labels |= {} if age is None else {"age": f"{age:.1f}"}
        took = clock.monotonic() - asked
        return Observed(probe=self._query.name, value=answer.value, labels=labels, error=answer.error, took=took)

    async def _course(self, start: float, end: float) -> SeriesRead:
        """One value a second; every few seconds where the run was longer than Prometheus answers for at once."""
        step = max(1.0, math.ceil((end - start) / MOST_STEPS))
        offset = clock.wall() - clock.monotonic() + self._skew  # from our monotonic time to the server's
        values, error = await self._client.series(self._query.promql, start + offset, end + offset, step)
        if error:
            return self._untold(start, error)
        ages: list[float | None] = []
        if self._query.age:
            ages, _ = await self._client.series(self._query.age, start + offset, end + offset, step)
        return SeriesRead(
            probe=self._query.name,
            promql=self._query.promql,
            start=start,
            step=step,
            values=tuple(values),
            ages=tuple(ages),
        )

    def _untold(self, start: float, error: str) -> SeriesRead:
        query = self._query
        return SeriesRead(probe=query.name, promql=query.promql, start=start, step=EVERY, values=(), error=error)


async def instruments(experiment: Experiment, target: Target, emit: Emit) -> list[Callable[[], Awaitable[None]]]:
    """Those that ask Prometheus: only where the experiment asks something of it, or says where it is.

    Raises:
        UnreachableError: it does not answer.

    """
    if not queries.needed(experiment) and target.spec.prometheus is None:
        return []
    source = await find(experiment, target)
    if source is None:
        names = [*experiment.queries, *queries.builtin(experiment)]
        return [Unasked([*names, *([ALERTS] if queries.alerts(experiment) else [])], emit).run]
    samplers = [QuerySampler(query, source.url, source.skew, emit) for query in source.queries]
    poller = AlertPoller(source.url, source.skew, emit, target.spec.alertmanager)
    return [*(sampler.run for sampler in samplers), poller.run]


class Unasked:
    """Stands where there is no Prometheus: says so instead of every answer, so that nothing passes for want of one."""

    def __init__(self, names: list[str], emit: Emit) -> None:
        self._names, self._emit = names, emit

    async def run(self) -> None:
        while True:
            for name in self._names:
                self._emit(Observed(probe=name, value=None, labels={"promql": "-"}, error=NO_PROMETHEUS))
            await asyncio.sleep(EVERY)
