"""A client of OpenAI-compatible servers that times every token and takes nothing on trust.

One session, any number of connections, kept alive for less long than uvicorn keeps them (5 s), so that a request rarely
meets a connection that the server is just closing. No retries, no redirects, no cookies, no proxies from the
environment: what happened to a request is what its record says.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from types import SimpleNamespace, TracebackType
from typing import Any, Literal, Self, TypedDict, Unpack

import aiohttp
import msgspec
from yarl import URL

from drillbook import clock
from drillbook.errors import UsageError
from drillbook.load.config import SESSION_HEADER
from drillbook.load.exchange import Answer, Exchange, Order
from drillbook.model.request import RequestRecord, Stream

Api = Literal["chat", "completions"]
Message = Mapping[str, str]
"""``{"role": "user", "content": "…"}``."""
Prompt = str | Sequence[Message]


class Options(TypedDict, total=False):
    """What may be said of one request."""

    scheduled: float | None
    """Monotonic seconds when it ought to have been sent; now, where it is not said."""
    request_id: str | None
    stream_kind: Stream
    output_tokens: int
    """48 where it is not said."""
    session: str | msgspec.UnsetType
    """Whose request it is, which a header says; nobody's, where it is not said."""
    extra: Mapping[str, Any] | None
    """Overrides fields of the request's body; a None takes one out."""


KEEP_ALIVE = 4.0
"""Seconds an idle connection is kept; uvicorn, and so vLLM, closes its own after 5."""


class Client:
    """Use it as ``async with Client("http://10.1.0.5:8000", "llama") as client``.

    Raises:
        UsageError: ``base_url`` is no http or https URL.

    """

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        api: Api = "chat",
        stream: bool = True,
        stall_timeout: float = 10.0,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        session_header: str = SESSION_HEADER,
        ignore_eos: bool = True,
    ) -> None:
        """``headers`` go with each request and are kept out of all records; ``session_header`` names its session.

        ``ignore_eos`` (vLLM's extension) makes each answer as long as was asked for, so that latencies compare; other
        servers may reject it. Times are seconds.
        """
        root = base_url.rstrip("/").removesuffix("/v1")
        self._url = _url(f"{root}/v1/{'chat/completions' if api == 'chat' else 'completions'}", base_url)
        self.model = model
        self._api = api
        self._stream = stream
        self._stall_timeout = stall_timeout
        self._timeout = timeout
        self._ignore_eos = ignore_eos
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        self._session_header = session_header
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        tracing = aiohttp.TraceConfig()
        tracing.on_connection_reuseconn.append(_mark_reused)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEP_ALIVE),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # an exchange keeps its own time
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[tracing],
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._session is not None
        await self._session.close()

    async def send(self, prompt: Prompt, **options: Unpack[Options]) -> RequestRecord:
        """Send one request now and give its record.

        Nothing that the server or the network does is raised: it is the record's outcome.
        """
        exchange = self.exchange(prompt, **options)
        await self.run(exchange)
        return exchange.record()

    async def ask(self, prompt: Prompt, **options: Unpack[Options]) -> Answer:
        """As ``send``, with the words, headers and raw events that the record was read from."""
        exchange = self.exchange(prompt, **options)
        exchange.events = []
        await self.run(exchange)
        return exchange.answer()

    def exchange(self, prompt: Prompt, **options: Unpack[Options]) -> Exchange:
        """A request that is ready to ``run``, for those who must see it while it is in flight."""
        return Exchange(self.order(prompt, **options))

    def order(self, prompt: Prompt, **options: Unpack[Options]) -> Order:
        """A request as it will be sent, for those who send it by themselves."""
        name = options.get("request_id") or uuid.uuid4().hex
        scheduled = options.get("scheduled")
        wanted = options.get("output_tokens", 48)
        session = options.get("session", msgspec.UNSET)
        whose = {} if session is msgspec.UNSET else {self._session_header: session}
        return Order(
            id=name,
            url=self._url,
            body=msgspec.json.encode(self._body(prompt, wanted, options.get("extra") or {})),
            headers={**self._headers, **whose, "X-Request-Id": name},
            scheduled=clock.monotonic() if scheduled is None else scheduled,
            stream_kind=options.get("stream_kind", Stream.LOAD),
            wanted_tokens=wanted,
            session=session,
            stall_timeout=self._stall_timeout,
            timeout=self._timeout,
        )

    async def run(self, exchange: Exchange) -> None:
        """Run an exchange over this client's connections."""
        assert self._session is not None, "use the client as 'async with Client(…) as client'"
        await exchange.run(self._session)

    def _body(self, prompt: Prompt, output_tokens: int, extra: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model}
        if self._api == "chat":
            body["messages"] = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        else:
            body["prompt"] = prompt if isinstance(prompt, str) else "\n\n".join(row["content"] for row in prompt)
        body |= {"max_tokens": output_tokens, "temperature": 0, "stream": self._stream}
        if self._stream:
            body["stream_options"] = {"include_usage": True}
        if self._ignore_eos:
            body["ignore_eos"] = True
        body |= extra
        return {key: value for key, value in body.items() if value is not None}


def _url(text: str, given: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise UsageError(f"{given!r} is not the address of a server", "write it as http://HOST:PORT, without /v1")
    return url


async def _mark_reused(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
    context.trace_request_ctx.reused = True
