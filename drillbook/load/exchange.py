"""One request and its answer, live: what is in flight can be asked how it is doing, and given up with a record.

Progress is what a user sees move: content. Bytes that bring none (headers, comments, a role, pings of a gateway) do not
put off the stall time-out, because an engine hangs behind a gateway that pings.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace

import aiohttp
from msgspec import UnsetType
from yarl import URL

from drillbook import clock
from drillbook.load import outcome, sse
from drillbook.load.heard import Heard, one_line
from drillbook.load.outcome import Ending
from drillbook.model import units
from drillbook.model.request import RequestRecord, Stream

BODY_LIMIT = 16 << 20
"""Bytes of an answer that is no stream."""
LINGER = 1.0
"""Seconds after ``[DONE]`` for the body's proper end, without which the connection cannot serve another request."""
REPLICA_HEADERS = ("x-inference-pod", "x-served-by")
"""Who answered. vllm-router (0.1.17, observed) sends none of its own and passes the engine's headers on; llm-d's
simulator sends the first, proxies the second; vLLM itself neither."""


_OPEN_HEADERS = frozenset({"content-type", "accept", "accept-encoding", "x-request-id"})
_SECRET = 8
"""Characters from which a word of a secret header is hidden by itself too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request as it will be sent."""

    id: str
    url: URL
    body: bytes
    headers: dict[str, str]
    scheduled: float
    stream_kind: Stream
    wanted_tokens: int
    session: str | UnsetType
    stall_timeout: float
    timeout: float


@dataclass(frozen=True, slots=True)
class Answer:
    """A record with what it was read from, for those who judge the words (attacks) and not only their delivery."""

    record: RequestRecord
    text: str
    headers: dict[str, str]
    events: tuple[sse.Event, ...]
    body: bytes = b""
    """Of an answer that is no stream."""


class Exchange:
    """Sends one order and listens. ``run`` may be cancelled; ``record`` can be asked for at any time."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.heard = Heard()
        self.headers: dict[str, str] = {}
        """The answer's headers, their names in lower case."""
        self.events: list[sse.Event] | None = None
        """Set it to a list to keep the raw events, or the body of an answer that is no stream."""
        self.body = b""
        self.tokens: list[int] = []
        self.sent = order.scheduled
        self.last_progress = order.scheduled
        self._first_byte: float | None = None
        self._end: float | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ending = Ending.ABANDONED
        self._trouble = ""

    async def run(self, session: aiohttp.ClientSession) -> None:
        """Send and listen to the end. Never raises for what the server or the network does: that is the record."""
        wire = SimpleNamespace(reused=False)
        self.sent = self.last_progress = clock.monotonic()
        try:
            async with asyncio.timeout(None) as patience:
                self._watch(patience)
                try:
                    async with session.post(
                        self.order.url,
                        data=self.order.body,
                        headers=self.order.headers,
                        allow_redirects=False,
                        trace_request_ctx=wire,
                    ) as response:
                        self._begin(response.status, response.headers.items())
                        if response.content_type == "text/event-stream":
                            await self._listen(response)
                        else:
                            await self._read(response)
                finally:
                    if self._timer is not None:
                        self._timer.cancel()
            self._ending = Ending.CLOSED
        except TimeoutError as error:
            if patience.expired():
                self._out_of_patience()
            else:
                self._broken(error, wire.reused)
        except (aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: not HTTP, not SSE, not a URL
            self._broken(error, wire.reused)
        if self._end is None:
            self._end = clock.monotonic()

    def abandon(self, why: str) -> None:
        """Say why it is given up; ``record`` then tells ``unknown`` unless the answer was already known."""
        if self._end is None:
            self._end = clock.monotonic()
            self._trouble = why

    def forgo(self, why: str, lag: float) -> None:
        """It is never sent, through our own fault: told as ``lag`` seconds late, which no reader of lags can miss."""
        self.sent = self._end = self.order.scheduled + lag
        self._trouble = why

    @property
    def given_up(self) -> bool:
        """Whether it ended by ``abandon`` or ``forgo``, or has ended by itself."""
        return self._end is not None

    def record(self) -> RequestRecord:
        """What became of it."""
        got, why = outcome.judge(self.heard, self._ending, self._trouble)
        return RequestRecord(
            id=self.order.id,
            stream=self.order.stream_kind,
            scheduled=self.order.scheduled,
            sent=self.sent,
            first_byte=self._first_byte,
            tokens=tuple(self.tokens),
            end=clock.monotonic() if self._end is None else self._end,
            outcome=got,
            status=self.heard.status,
            error=self._redacted(why),
            finish_reason=self.heard.finish_reason,
            replica=next((self.headers[name] for name in REPLICA_HEADERS if name in self.headers), None),
            wanted_tokens=self.order.wanted_tokens,
            prompt_tokens=self.heard.prompt_tokens,
            session=self.order.session,
        )

    def answer(self) -> Answer:
        """What became of it, and all that was said, but for secrets of ours that were said back."""
        events, body, text = tuple(self.events or ()), self.body, "".join(self.heard.text)
        if self._secrets:
            events = tuple(event._replace(data=self._redacted(event.data)) for event in events)
            body, text = self._redacted(body.decode("utf-8", "replace")).encode(), self._redacted(text)
        return Answer(self.record(), text, self.headers, events, body)

    def _begin(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        self._first_byte = clock.monotonic()
        self.heard.status = status
        self.headers = {name.lower(): value for name, value in headers}
        if 300 <= status < 400:  # not followed: headers may carry secrets that are meant for this host only
            self.heard.error = f"HTTP {status}: redirected to {one_line(self.headers.get('location', '?'))}"

    def _watch(self, patience: asyncio.Timeout) -> None:
        """End the exchange when patience is due, else look again then: cheaper than a new timer for every token."""
        loop = asyncio.get_running_loop()
        left = self.patience
        if left <= 0:
            patience.reschedule(loop.time())
        else:
            self._timer = loop.call_later(left, self._watch, patience)

    @property
    def patience(self) -> float:
        """Seconds that are left until it counts as hung, or takes too long."""
        due = min(self.last_progress + self.order.stall_timeout, self.sent + self.order.timeout)
        return due - clock.monotonic()

    async def _listen(self, response: aiohttp.ClientResponse) -> None:
        parser = sse.Parser()
        while not self.heard.done:
            chunk = await response.content.readany()
            now = clock.monotonic()
            self._hear(parser, chunk, now)
            if not chunk:
                return
        self._end = now
        if not response.content.at_eof():
            await self._linger(response)

    def _hear(self, parser: sse.Parser, chunk: bytes, now: float) -> None:
        """Take what came at ``now`` of a stream; an empty chunk is its end."""
        content = 0
        for event in parser.feed(chunk) if chunk else filter(None, [parser.finish()]):
            content += self.heard.event(event)
            if self.events is not None:
                self.events.append(event)
        if content:
            self.tokens.extend([int((now - self.sent) * 1e6)] * content)
            self.last_progress = now

    async def _linger(self, response: aiohttp.ClientResponse) -> None:
        try:
            async with asyncio.timeout(LINGER):
                while await response.content.readany():
                    pass
        except (TimeoutError, aiohttp.ClientError, OSError):
            response.close()  # the answer was whole; only the connection is not worth keeping

    async def _read(self, response: aiohttp.ClientResponse) -> None:
        pieces: list[bytes] = []
        size = 0
        while piece := await response.content.readany():
            pieces.append(piece)
            size += len(piece)
            if size > BODY_LIMIT:
                raise ValueError(f"the answer is larger than {BODY_LIMIT:,} bytes")
        self._take(b"".join(pieces))

    def _take(self, body: bytes) -> None:
        """Take the whole body of an answer that is no stream."""
        now = clock.monotonic()
        if self.events is not None:
            self.body = body
        if self.heard.body(body):
            self.tokens.append(int((now - self.sent) * 1e6))
            self.last_progress = now
        self._end = now

    def _out_of_patience(self) -> None:
        waited = clock.monotonic() - self.sent
        overdue = waited >= self.order.timeout
        self._ending = Ending.OVERDUE if overdue else Ending.STALLED
        limit = units.show(self.order.timeout if overdue else self.order.stall_timeout, units.Dimension.DURATION)
        if overdue:
            self._trouble = f"not complete after {limit}"
        else:
            self._trouble = f"nothing came for {limit}, after {len(self.tokens)} content chunks"

    def _broken(self, error: Exception, reused: bool) -> None:
        self._ending = Ending.BROKEN
        told = str(error) or type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorError):
            number, cause = error.os_error.errno or 0, error.os_error
            why = os.strerror(number) if number > 0 else cause.strerror or str(cause)  # else a resolver's own words
            told = f"cannot connect to {error.host}:{error.port}: {why}"
        # A kept-alive connection that the server has just closed looks like a refusal. It is not retried in silence: a
        # POST may have been acted upon, and users' clients would see it too.
        stale = reused and self._first_byte is None
        self._trouble = one_line(told) + (" (on a kept-alive connection)" if stale else "")

    def _redacted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text

    @cached_property
    def _secrets(self) -> tuple[str, ...]:
        """What a server may repeat of what we sent: secret headers, whole or without their ``Bearer``."""
        sent, whose = self.order.headers.items(), self.order.session
        hidden = [value for name, value in sent if name.lower() not in _OPEN_HEADERS and value != whose]
        words = [word for value in hidden for word in value.split() if len(word) >= _SECRET]
        return (*hidden, *words)
