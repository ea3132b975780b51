"""One request while it runs in the API server: its tokens as they come, and its times for the metrics."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from drillbook import clock
from drillbook.sandbox.engine.api_error import APIError
from drillbook.sandbox.engine.replies import Reply
from drillbook.sandbox.engine.series import EngineSeries
from drillbook.sandbox.engine.wire import Output


@dataclass
class Generation:
    """An answer in the making. ``prompt`` and ``limit`` count tokens, ``natural`` where the answer would end.

    ``produced`` counts what the answer holds, ``counted`` what the engine sent: the answer is read a little later.
    """

    id: str
    prompt: int
    limit: int
    natural: int
    reply: Reply
    stop: tuple[str, ...] = ()
    text: str = ""
    produced: int = 0
    counted: int = 0
    finish: str = ""
    stop_reason: str | None = None
    arrived: float = field(default_factory=clock.monotonic)
    first: float = 0.0
    last: float = 0.0
    _events: asyncio.Queue[Output | APIError] = field(default_factory=asyncio.Queue)

    def put(self, event: Output | APIError) -> None:
        """A token from the engine, or why there will be none."""
        self._events.put_nowait(event)

    async def pieces(self) -> AsyncIterator[str]:
        """The text of each token as it comes; ``finish`` is set when the last one is given.

        :raises APIError: the engine died.
        """
        while not self.finish:
            event = await self._events.get()
            if isinstance(event, APIError):
                raise event
            yield self._take(event)

    def _take(self, output: Output) -> str:
        if output.finish == "abort":
            self.finish = "abort"
            return ""
        piece = self.reply.token()
        self.produced += 1
        self.finish = output.finish
        before = len(self.text)
        self.text += piece
        for stop in self.stop:
            # A stop string may have begun in earlier tokens, whose text is already with the client.
            found = self.text.find(stop, max(0, before - len(stop) + 1))
            if found >= 0:
                self.text = self.text[: max(found, before)]
                self.finish, self.stop_reason = "stop", stop
                break
        return self.text[before:]

    def measure(self, output: Output, series: EngineSeries, now: float) -> None:
        """Record a token's time, and the whole request's when it was the last one."""
        self.counted += 1
        if not self.first:
            self.first = now
            series.ttft.observe(now - self.arrived)
            series.queued.observe(max(0.0, output.scheduled_at - self.arrived))
            series.prefill.observe(now - max(output.scheduled_at, self.arrived))
        else:
            series.itl.observe(now - self.last)
        self.last = now
        if output.finish:
            self.conclude(output.finish, output, series)

    def conclude(self, reason: str, output: Output | None, series: EngineSeries) -> None:
        """Record the end of the request in the metrics. ``output``: the last token, if there was one."""
        series.finished[reason].add()
        series.prompt.observe(self.prompt)
        series.generated.observe(self.counted)
        series.max_generated.observe(self.counted)
        series.n.observe(1)
        series.max_tokens.observe(self.limit)
        series.preempted.observe(output.preemptions if output else 0)
        if output is None:
            return
        series.computed.observe(self.prompt)
        series.e2e.observe(self.last - self.arrived)
        series.inference.observe(self.last - max(output.scheduled_at, self.arrived))
        series.decode.observe(self.last - self.first)
        if self.counted > 1:
            series.tpot.observe((self.last - self.first) / (self.counted - 1))
