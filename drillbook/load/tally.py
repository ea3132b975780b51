"""What a generator has under way and has seen through: the bookkeeping of an open loop, whatever runs its requests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from drillbook import clock
from drillbook.load import slis
from drillbook.load.config import GeneratorConfig
from drillbook.load.exchange import Exchange
from drillbook.model.events import LoadTicked
from drillbook.model.request import RequestRecord

Task = TypeVar("Task")
"""What carries out one request: a task of asyncio, a greenlet."""
Emit = Callable[[RequestRecord | LoadTicked], None]


class Tally(Generic[Task]):
    """Counts requests, keeps those in flight, emits the record of each that ended, and tells all of it in ticks."""

    def __init__(self, config: GeneratorConfig, emit: Emit) -> None:
        self.in_flight: dict[Task, Exchange] = {}
        self.sent = 0
        self.finished = 0
        self._config = config
        self._emit = emit
        self._tokens_ended = 0
        """Content chunks of ended requests."""
        self._tokens_told = 0
        self._lags: list[float] = []

    @property
    def full(self) -> bool:
        """Whether as many requests are in flight as may be."""
        return len(self.in_flight) >= self._config.max_in_flight

    def forgo(self, exchange: Exchange) -> None:
        """It is not sent, because too many are in flight; its lag counts as the whole time-out."""
        exchange.forgo(f"not sent: {len(self.in_flight)} requests were in flight already", self._config.timeout)
        self._lags.append(self._config.timeout)
        self._emit(exchange.record())

    def began(self, task: Task, exchange: Exchange) -> None:
        """Count a request as sent."""
        self.in_flight[task] = exchange
        self.sent += 1

    def lagged(self, lag: float) -> None:
        """Something of the generator's own came so many seconds late."""
        self._lags.append(lag)

    def ended(self, task: Task, fault: BaseException | None = None) -> Exchange:
        """Count a request as finished and emit its record; ``fault`` is a bug of ours that ended it."""
        exchange = self.in_flight.pop(task)
        self.finished += 1
        self._tokens_ended += len(exchange.tokens)
        if fault is not None:
            exchange.abandon(f"drillbook's own fault: {fault!r}")
        self._emit(exchange.record())
        return exchange

    def tick(self) -> None:
        """Emit how things stand, and what came since the last tick."""
        lags, self._lags = sorted(self._lags), []
        now = clock.monotonic()
        flying = self.in_flight.values()
        tokens = self._tokens_ended + sum(len(exchange.tokens) for exchange in flying)
        told, self._tokens_told = self._tokens_told, tokens
        self._emit(
            LoadTicked(
                sent=self.sent,
                finished=self.finished,
                in_flight=len(flying),
                lag_p99=slis.quantile(lags, 0.99) or 0.0,
                lag_max=lags[-1] if lags else 0.0,
                oldest=max((now - exchange.last_progress for exchange in flying), default=0.0),
                tokens=tokens - told,
            )
        )
