"""The runner's handles on a load through Locust: one process, or a master with its workers behind one handle."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Self

import msgspec

from drillbook.load.locust.config import LISTENS, MASTER, SEED_STEP, LocustConfig
from drillbook.load.locust.place import HERE, Place
from drillbook.load.process import Generator, GeneratorError
from drillbook.model.events import Line, LoadTicked, Noted


class LocustGenerator(Generator):
    """One process that sends through Locust; it is used as every other generator."""

    what = "the load generator of Locust"
    module = "drillbook.load.locust.worker"

    def __init__(self, config: LocustConfig, place: Place = HERE) -> None:
        super().__init__(config, place.launch)


class LocustMaster(Generator):
    """Locust's master, which brings the workers of a ``LocustFleet`` together."""

    what = "Locust's master"
    module = "drillbook.load.locust.master"
    port: int = 0

    def __init__(self, config: LocustConfig, place: Place) -> None:
        super().__init__(config, place.launch)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        async for line in self:  # its first words: nothing else comes before there are workers
            assert isinstance(line.event, Noted)
            self.port = int(line.event.text.removeprefix(LISTENS))
            break
        return self


class LocustFleet(Generator):
    """A master and ``config.workers`` workers, each with its share of the rate, its own seed and its own file.

    Raises:
        UsageError: as ``Generator``, or Locust is not installed; nothing was started.
        GeneratorError: one did not start; and from the iteration, that one died: the load is then not what was asked.

    """

    what = "the load through Locust"
    module = LocustMaster.module
    config: LocustConfig

    def __init__(self, config: LocustConfig, place: Place = HERE) -> None:
        super().__init__(config)
        self._place = place
        self._master = LocustMaster(config, place)
        self.workers: Sequence[LocustGenerator] = ()
        self._running: list[Generator] = []
        self._ticks: dict[str, tuple[float, int]] = {}

    @property
    def pid(self) -> int:
        """The master's process."""
        return self._master.pid

    async def __aenter__(self) -> Self:
        self.check()
        try:
            host = await self._place.begin()
            self._master = LocustMaster(self._member(MASTER, host=host), self._place)
            await self._begin(self._master)
            self.workers = [LocustGenerator(config, self._place) for config in self._shares(host)]
            async with asyncio.TaskGroup() as beginning:
                for worker in self.workers:
                    beginning.create_task(self._begin(worker))
        except BaseException as error:  # Ctrl-C too: what was not entered is not left, and processes would stay
            await self._end(0.0)
            if isinstance(error, BaseExceptionGroup):  # of a worker that waited for the others the master can tell more
                raise (self._master.error() if self._master.failure else error.exceptions[0]) from error
            raise
        self._watching = asyncio.create_task(self._merge())
        return self

    async def stop(self, drain: float = 5.0) -> None:
        """As ``Generator.stop``, for all of them."""
        await self._end(drain)
        await self._watching

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second of all workers together."""
        for worker in self.workers:
            worker.pace(at, rate / len(self.workers))

    async def _begin(self, member: Generator) -> None:
        await member.__aenter__()
        self._running.append(member)

    async def _end(self, drain: float) -> None:
        """The workers first: the master then has their last reports."""
        await asyncio.gather(*(member.stop(drain) for member in self._running if member is not self._master))
        if self._master in self._running:
            await self._master.stop(0.0)
        await self._place.end()

    def _member(self, name: str, **changes: Any) -> LocustConfig:
        return msgspec.structs.replace(self.config, writer=f"{self.config.writer}-{name}", **changes)

    def _shares(self, host: str) -> list[LocustConfig]:
        count = self.config.workers
        return [
            self._member(
                str(number),
                rate=self.config.rate / count,
                seed=self.config.seed + SEED_STEP * (number - 1),
                host=host,
                master=self._master.port,
            )
            for number in range(1, count + 1)
        ]

    async def _merge(self) -> None:
        await asyncio.gather(*(self._pump(member) for member in self._running))
        self._lines.put_nowait(None)

    async def _pump(self, member: Generator) -> None:
        try:
            async for line in member:
                self._lines.put_nowait(line)
                self._count(line)
        except GeneratorError as error:
            self.failure = self.failure or f"{member.config.writer}: {member.failure}"
            self._complaints.extend(error.hint.splitlines())
            self._lines.put_nowait(None)  # whoever reads is told at once

    def _count(self, line: Line) -> None:
        """What all have sent, at the mean time of their last ticks: each ticks at a moment of its own."""
        if isinstance(line.event, LoadTicked):
            self._ticks[line.writer] = (line.mono, line.event.sent)
            if len(self._ticks) == len(self.workers):
                self.sent = (
                    fmean(mono for mono, _ in self._ticks.values()),
                    sum(sent for _, sent in self._ticks.values()),
                )
