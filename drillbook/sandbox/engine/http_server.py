"""The HTTP side of the API server: log lines and metrics of each request as vLLM has them, uvicorn's way to stop."""

from __future__ import annotations

import asyncio
import socket
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from drillbook import clock
from drillbook.sandbox.engine import log
from drillbook.sandbox.engine.http_series import HTTPSeries

KEEP_ALIVE = 5.0
"""Seconds until an idle connection is closed: uvicorn's default, short enough for routers to run into it."""
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PHRASES = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class HTTPServer:
    """Listens on one socket; knows how many requests are being answered."""

    def __init__(
        self,
        routes: list[web.RouteDef],
        series: HTTPSeries,
        *,
        access_log: bool,
        request_ids: bool,
        on_error: Callable[[], None],
    ) -> None:
        self._series = series
        self._access_log = access_log
        self._request_ids = request_ids
        self._on_error = on_error
        self._active = 0
        self._idle = asyncio.Event()
        self._idle.set()
        app = web.Application(middlewares=[self._watch], client_max_size=1 << 26)
        app.add_routes(routes)
        app.on_response_prepare.append(self._add_headers)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, keepalive_timeout=KEEP_ALIVE, shutdown_timeout=0.1
        )
        self._site: web.SockSite | None = None

    async def start(self, sock: socket.socket) -> None:
        """Listen."""
        await self._runner.setup()
        self._site = web.SockSite(self._runner, sock, backlog=2048)
        await self._site.start()

    async def stop(self) -> None:
        """Refuse new connections, close idle ones, wait (without a limit, as uvicorn does) for the rest, close."""
        if self._site is not None:
            await self._site.stop()
        log.uvicorn("Shutting down")
        if self._active:
            log.uvicorn("Waiting for connections to close. (CTRL+C to force quit)")
        await self._idle.wait()
        log.uvicorn("Waiting for application shutdown.")
        await self._runner.cleanup()
        log.uvicorn("Application shutdown complete.")

    async def _add_headers(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "drillbook-sim"
        if self._request_ids:
            response.headers["X-Request-Id"] = request.headers.get("X-Request-Id") or uuid.uuid4().hex
        if self._access_log:
            peer = request.transport.get_extra_info("peername") if request.transport else None
            client = f"{peer[0]}:{peer[1]}" if peer else "-"
            phrase = PHRASES.get(response.status, "")
            log.uvicorn(f'{client} - "{request.method} {request.path_qs} HTTP/1.1" {response.status} {phrase}')

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._active += 1
        self._idle.clear()
        begun = clock.monotonic()
        status = 500
        try:
            response = await answer(request, handler)
            status = response.status
            if status == 500:
                self._on_error()
            return response
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()
            self._series.record(request, status, clock.monotonic() - begun)


async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Call the handler; aiohttp's own errors in FastAPI's form."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        detail = PHRASES.get(error.status, error.reason)
        allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return web.json_response({"detail": detail}, status=error.status, headers=allow)
