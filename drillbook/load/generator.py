"""The open loop: each arrival leaves at its own time, whether or not anything has come back.

Due times are absolute, so a late arrival does not push the next one. What the generator itself cannot keep it tells,
as lag: between scheduled and sent, and of the event loop when nothing is due. Past ``max_in_flight`` an arrival is
recorded as not sent and its lag counts as the whole time-out: measurements then cannot be trusted, and nobody can miss
it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from drillbook import clock
from drillbook.load import schedule, slis
from drillbook.load.client import Client, Prompt
from drillbook.load.config import GeneratorConfig
from drillbook.load.exchange import Exchange
from drillbook.model.events import LoadTicked
from drillbook.model.request import RequestRecord

TICK = 1.0
LOOK = 0.25
"""Longest sleep before an arrival, in seconds: the rate may have changed meanwhile."""
PULSE = 0.05
"""Seconds between two looks at the event loop's own delay."""

Emit = Callable[[RequestRecord | LoadTicked], None]


class OpenLoop:
    """Runs one schedule against one client and emits records as they end, and a tick each second."""

    def __init__(self, config: GeneratorConfig, client: Client, prompts: Sequence[Prompt], emit: Emit) -> None:
        self._config = config
        self._client = client
        self._prompts = prompts
        self._emit = emit
        self._table = schedule.Timetable(config.rate, config.arrivals, config.seed)
        self._start = 0.0
        self._in_flight: dict[asyncio.Task[None], Exchange] = {}
        self._stopped = asyncio.Event()
        self._fault: BaseException | None = None
        self._sent = 0
        self._finished = 0
        self._tokens_ended = 0
        """Content chunks of ended requests."""
        self._tokens_told = 0
        self._lags: list[float] = []

    async def run(self, start: float) -> None:
        """Send arrivals from ``start`` (monotonic seconds) on until ``stop``, then see off what is in flight.

        Raises:
            BaseExceptionGroup: a bug of ours; a request's own misfortune is its record.

        """
        async with asyncio.TaskGroup() as tasks:
            beats = [tasks.create_task(self._tick()), tasks.create_task(self._pulse())]
            sending = tasks.create_task(self._send(start))
            await self._stopped.wait()
            sending.cancel()
            while self._in_flight:
                await asyncio.wait(self._in_flight)
            for beat in beats:
                beat.cancel()
        self._emit(self._ticked())

    def stop(self, drain: float) -> None:
        """No more arrivals; what is in flight ``drain`` seconds from now is given up as ``unknown``.

        May be said again, to hurry.
        """
        self._stopped.set()
        asyncio.get_running_loop().call_later(drain, self._give_up)

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""
        self._table.change(at - self._start, rate)

    async def _send(self, start: float) -> None:
        self._start = start
        for number, pick in enumerate(schedule.choices(len(self._prompts), self._config.seed)):
            # Behind schedule this only lets others run: what was sent gets on the wire before the next one.
            await asyncio.sleep(0)
            while (wait := start + self._table.due - clock.monotonic()) > 0:  # noqa: ASYNC110 - when it is due may move
                await asyncio.sleep(min(wait, LOOK))
            self._arrive(number, start + self._table.due, self._prompts[pick])
            self._table.step()

    def _arrive(self, number: int, due: float, prompt: Prompt) -> None:
        exchange = self._client.exchange(
            prompt,
            scheduled=due,
            request_id=f"{self._config.writer}-{number}",
            output_tokens=self._config.output_tokens,
        )
        if len(self._in_flight) >= self._config.max_in_flight:
            exchange.forgo(f"not sent: {len(self._in_flight)} requests were in flight already", self._config.timeout)
            self._lags.append(self._config.timeout)
            self._emit(exchange.record())
            return
        task = asyncio.create_task(self._follow(exchange))
        self._in_flight[task] = exchange
        self._sent += 1
        task.add_done_callback(self._ended)

    async def _follow(self, exchange: Exchange) -> None:
        self._lags.append(clock.monotonic() - exchange.order.scheduled)
        await self._client.run(exchange)

    def _ended(self, task: asyncio.Task[None]) -> None:
        exchange = self._in_flight.pop(task)
        self._finished += 1
        self._tokens_ended += len(exchange.tokens)
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()
            exchange.abandon(f"drillbook's own fault: {self._fault!r}")
        self._emit(exchange.record())

    def _give_up(self) -> None:
        for task, exchange in self._in_flight.items():
            exchange.abandon("given up: the run ended")
            task.cancel()

    async def _tick(self) -> None:
        due = clock.monotonic() + TICK
        while True:
            await asyncio.sleep(max(0.0, due - clock.monotonic()))
            due += TICK
            self._emit(self._ticked())
            if self._fault is not None:
                raise self._fault

    async def _pulse(self) -> None:
        due = clock.monotonic() + PULSE
        while True:
            await asyncio.sleep(max(0.0, due - clock.monotonic()))
            now = clock.monotonic()
            self._lags.append(now - due)
            due = max(due, now - PULSE) + PULSE  # after a long block go on from now; the block has been told once

    def _ticked(self) -> LoadTicked:
        lags, self._lags = sorted(self._lags), []
        now = clock.monotonic()
        flying = self._in_flight.values()
        tokens = self._tokens_ended + sum(len(exchange.tokens) for exchange in flying)
        told, self._tokens_told = self._tokens_told, tokens
        return LoadTicked(
            sent=self._sent,
            finished=self._finished,
            in_flight=len(flying),
            lag_p99=slis.quantile(lags, 0.99) or 0.0,
            lag_max=lags[-1] if lags else 0.0,
            oldest=max((now - exchange.last_progress for exchange in flying), default=0.0),
            tokens=tokens - told,
        )
