"""The open loop: each arrival leaves at its own time, whether or not anything has come back.

Due times are absolute, so a late arrival does not push the next one. What the generator itself cannot keep it tells,
as lag: between scheduled and sent, and of the event loop when nothing is due. Past ``max_in_flight`` an arrival is
recorded as not sent and its lag counts as the whole time-out: measurements then cannot be trusted, and nobody can miss
it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from msgspec import UnsetType

from drillbook import clock
from drillbook.load import prompts as sets
from drillbook.load import schedule
from drillbook.load.client import Client, Prompt
from drillbook.load.config import Flood, GeneratorConfig
from drillbook.load.exchange import Exchange
from drillbook.load.tally import Emit, Tally
from drillbook.model.request import Stream

TICK = 1.0
LOOK = 0.25
"""Longest sleep before an arrival, in seconds: the rate may have changed meanwhile."""
PULSE = 0.05
"""Seconds between two looks at the event loop's own delay."""


@dataclass
class Source:
    """One load of those that a generator sends: when its requests are due, and what they ask."""

    name: str
    stream: Stream
    table: schedule.Timetable
    prompts: Iterator[Prompt]
    output_tokens: int
    sessions: Iterator[str | UnsetType] = field(default_factory=lambda: schedule.sessions(0, 0))
    """Whose each request is."""
    until: float = math.inf
    """Monotonic seconds from which on nothing more is sent."""


class OpenLoop:
    """Runs a schedule against one client and emits records as they end, and a tick each second."""

    def __init__(self, config: GeneratorConfig, client: Client, prompts: Sequence[Prompt], emit: Emit) -> None:
        self._config = config
        self._client = client
        self._tally: Tally[asyncio.Task[None]] = Tally(config, emit)
        picks = schedule.choices(len(prompts), config.seed)
        self._load = Source(
            name=config.writer,
            stream=Stream.LOAD,
            table=schedule.Timetable(config.rate, config.arrivals, config.seed),
            prompts=(prompts[pick] for pick in picks),
            output_tokens=config.output_tokens,
            sessions=schedule.sessions(config.sessions, config.seed),
        )
        self._sending: list[asyncio.Task[None]] = []
        self._tasks: asyncio.TaskGroup | None = None
        self._start = 0.0
        self._stopped = asyncio.Event()
        self._fault: BaseException | None = None

    async def run(self, start: float) -> None:
        """Send arrivals from ``start`` (monotonic seconds) on until ``stop``, then see off what is in flight.

        Raises:
            BaseExceptionGroup: a bug of ours; a request's own misfortune is its record.

        """
        async with asyncio.TaskGroup() as tasks:
            beats = [tasks.create_task(self._tick()), tasks.create_task(self._pulse())]
            self._tasks, self._start = tasks, start
            self._sending.append(tasks.create_task(self._send(self._load, start)))
            await self._stopped.wait()
            for sending in self._sending:
                sending.cancel()
            while self._tally.in_flight:
                await asyncio.wait(self._tally.in_flight)
            for beat in beats:
                beat.cancel()
        self._tally.tick()

    def stop(self, drain: float) -> None:
        """No more arrivals; what is in flight ``drain`` seconds from now is given up as ``unknown``.

        May be said again, to hurry.
        """
        self._stopped.set()
        asyncio.get_running_loop().call_later(drain, self._give_up)

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""
        self._load.table.change(at - self._start, rate)

    def flood(self, order: Flood, prompts: Sequence[Prompt]) -> None:
        """Send a second load beside the first, as ordered, and count it apart."""
        if self._tasks is None or self._stopped.is_set():
            return
        seed = self._config.seed + len(self._sending)
        source = Source(
            name=f"{self._config.writer}-flood-{len(self._sending)}",
            stream=Stream.FLOOD,
            table=schedule.Timetable(order.rate, self._config.arrivals, seed),
            prompts=sets.distinct(prompts, order.times, schedule.choices(len(prompts), seed)),
            output_tokens=order.output_tokens,
            until=order.until,
        )
        self._sending.append(self._tasks.create_task(self._send(source, order.at)))

    async def _send(self, source: Source, start: float) -> None:
        for number, prompt in enumerate(source.prompts):
            # Behind schedule this only lets others run: what was sent gets on the wire before the next one.
            await asyncio.sleep(0)
            if start + source.table.due >= source.until:
                return
            while (wait := start + source.table.due - clock.monotonic()) > 0:  # noqa: ASYNC110 - when it is due may move
                await asyncio.sleep(min(wait, LOOK))
            self._arrive(source, number, start + source.table.due, prompt)
            source.table.step()

    def _arrive(self, source: Source, number: int, due: float, prompt: Prompt) -> None:
        exchange = self._client.exchange(
            prompt,
            scheduled=due,
            request_id=f"{source.name}-{number}",
            stream_kind=source.stream,
            session=next(source.sessions),
            output_tokens=source.output_tokens,
        )
        if self._tally.full:
            self._tally.forgo(exchange)
            return
        task = asyncio.create_task(self._follow(exchange))
        self._tally.began(task, exchange)
        task.add_done_callback(self._ended)

    async def _follow(self, exchange: Exchange) -> None:
        self._tally.lagged(clock.monotonic() - exchange.order.scheduled)
        await self._client.run(exchange)

    def _ended(self, task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        self._fault = fault or self._fault
        self._tally.ended(task, fault)

    def _give_up(self) -> None:
        for task, exchange in self._tally.in_flight.items():
            exchange.abandon("given up: the run ended")
            task.cancel()

    async def _tick(self) -> None:
        due = clock.monotonic() + TICK
        while True:
            await asyncio.sleep(max(0.0, due - clock.monotonic()))
            due += TICK
            self._tally.tick()
            if self._fault is not None:
                raise self._fault

    async def _pulse(self) -> None:
        due = clock.monotonic() + PULSE
        while True:
            await asyncio.sleep(max(0.0, due - clock.monotonic()))
            now = clock.monotonic()
            self._tally.lagged(now - due)
            due = max(due, now - PULSE) + PULSE  # after a long block go on from now; the block has been told once
