"""The API server's end of EngineCore: hands requests over, gives out tokens, notices the engine's death.

It knows only what comes over the socket. A stopped engine says nothing, so nothing is noticed: ``errored`` stays false
and the gauges keep their last values, as in vLLM.
"""

from __future__ import annotations

import asyncio
import socket

from drillbook import clock
from drillbook.sandbox.engine import log, wire
from drillbook.sandbox.engine.api_error import engine_dead, queue_full, shutting_down
from drillbook.sandbox.engine.generation import Generation
from drillbook.sandbox.engine.series import EngineSeries


class EngineClient(asyncio.Protocol):
    """Requests in flight, by id, and the state of the engine."""

    def __init__(
        self, series: EngineSeries, *, notice: float, max_requests: int | None, max_queued_tokens: int | None
    ) -> None:
        self.series = series
        self.errored = False
        self.dead = asyncio.Event()
        self.generated = 0
        self.prompted = 0
        self.last_stats = wire.Stats(0, 0, 0.0, 0, 0)
        self._stopping = False
        self._notice = notice
        self._max_requests = max_requests
        self._max_queued_tokens = max_queued_tokens
        self._running: dict[str, Generation] = {}
        self._unpacker = wire.Unpacker()
        self._transport: asyncio.WriteTransport | None = None

    async def connect(self, sock: socket.socket) -> None:
        """Take over the socket to a ready EngineCore."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=sock)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        for message in self._unpacker.feed(data):
            if isinstance(message, wire.Step):
                self._deliver(message)
            elif isinstance(message, wire.Dead):
                self._ended()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._ended()

    def _ended(self) -> None:
        if not self.dead.is_set() and not self._stopping:
            log.error("core_client.py", "Engine core proc EngineCore died unexpectedly, shutting down client.")
            asyncio.get_running_loop().call_later(self._notice, self.fail)
        self.dead.set()

    def _deliver(self, step: wire.Step) -> None:
        now = clock.monotonic()
        prompts = generated = 0
        for output in step.outputs:
            generation = self._running.get(output.id)
            if generation is None:
                continue  # aborted while the step ran
            generation.put(output)
            if output.finish:
                del self._running[output.id]
            if output.finish == "abort":
                generation.conclude("abort", None, self.series)
                continue
            generated += 1
            prompts += 0 if generation.first else generation.prompt
            generation.measure(output, self.series, now)
        self.generated += generated
        self.prompted += prompts
        self.last_stats = step.stats
        self.series.record(step.stats, generated=generated, prompts=prompts)

    def check_admission(self) -> None:
        """Refuse where a queue limit is reached, as vLLM's API server does before it hands a request over.

        :raises APIError: 503, which a stream's client sees inside a 200.
        """
        if self._max_requests is not None and len(self._running) + 1 > self._max_requests:
            raise self._reject("max_num_queued_reqs")
        if self._max_queued_tokens is not None:
            queued = sum(one.prompt for one in self._running.values() if not one.first)
            if queued >= self._max_queued_tokens:
                raise self._reject("max_num_queued_tokens")

    def _reject(self, limit: str) -> Exception:
        self.series.rejected[limit].add()
        return queue_full(limit)

    def check_alive(self) -> None:
        """:raises APIError: the engine is dead, or the server is shutting down."""
        if self.errored:
            raise engine_dead()
        if self._stopping:
            raise shutting_down()

    def submit(self, generation: Generation) -> None:
        """Hand a request over; its tokens come to ``generation``.

        :raises APIError: a queue limit was reached, or the engine died, since the first look.
        """
        self.check_alive()
        self.check_admission()
        self._running[generation.id] = generation
        self._send(wire.Submit(generation.id, generation.prompt, generation.limit, generation.natural))

    def abort(self, generation: Generation) -> None:
        """Stop generating: the client left (counted as an abort), or met a stop string."""
        if self._running.pop(generation.id, None) is not None:
            generation.conclude(generation.finish or "abort", None, self.series)
            self._send(wire.Abort([generation.id]))

    def drain(self) -> None:
        """Take no new requests; the engine finishes what it has and exits."""
        self._stopping = True
        self._send(wire.Drain())

    def stop(self) -> None:
        """Expect the engine to end: its death is no longer news."""
        self._stopping = True

    def fail(self) -> None:
        """The engine is known to be dead: everything in flight gets the error."""
        self.errored = True
        for generation in self._running.values():
            generation.put(engine_dead())
        self._running.clear()

    def abort_all(self) -> None:
        """Everything in flight ends with finish reason ``abort``."""
        for generation in self._running.values():
            generation.put(wire.Output(generation.id, "abort", 0.0, 0))
            generation.conclude("abort", None, self.series)
        self._running.clear()

    def _send(self, message: wire.Message) -> None:
        if self._transport is not None:
            self._transport.write(wire.pack(message))
