"""Which model answers: the upstream with its rails, or, for a while after it failed, the fallback with or without."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp

from drillbook import clock
from drillbook.sandbox.guardrail.settings import GatewaySettings


@dataclass(frozen=True)
class Route:
    """One model server, and whether its route has rails."""

    url: str
    rails: bool
    fallback: bool = False


@dataclass(eq=False)
class UpstreamError(Exception):
    """A model server that was not reached, stayed silent, or answered 5xx, before anything of it was delivered."""

    why: str
    status: int | None = None
    body: bytes = b""


class Upstreams:
    """The routes, and a breaker that opens for a while when the upstream fails."""

    def __init__(self, settings: GatewaySettings, session: aiohttp.ClientSession) -> None:
        self._settings, self._session = settings, session
        self._open_until = 0.0

    def routes(self) -> Iterator[Route]:
        """Where to go, in order. A caller that comes back for the next one says that this one failed."""
        settings = self._settings
        if not settings.fallback or clock.monotonic() >= self._open_until:
            yield Route(settings.upstream.rstrip("/"), rails=True)
            self._open_until = clock.monotonic() + settings.breaker
        if settings.fallback:
            yield Route(settings.fallback.rstrip("/"), settings.fallback_rails == "on", fallback=True)

    @contextlib.asynccontextmanager
    async def ask(
        self, route: Route, path: str, body: bytes, headers: dict[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of one model server, once it has begun.

        :raises UpstreamError: there is none.
        """
        silence = aiohttp.ClientTimeout(total=None, sock_connect=5.0, sock_read=self._settings.upstream_timeout)
        try:
            answer = await self._session.post(route.url + path, data=body, headers=headers, timeout=silence)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UpstreamError(str(error) or type(error).__name__) from None
        async with answer:
            if answer.status >= 500:
                raise UpstreamError(f"HTTP {answer.status}", answer.status, await answer.read())
            yield answer
