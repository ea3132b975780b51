"""The gateway: an OpenAI-compatible proxy with an input rail and an output rail, for streams too.

One request: its route is chosen, the prompt is checked, the model is asked, the answer is checked, and only then
delivered. Of a stream the last ``window`` characters are always held back; what the model did not end well is never
flushed unchecked. ``/health`` says that the gateway's process lives, and nothing of its classifier, as is usual.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from drillbook.sandbox.guardrail import asked as requests
from drillbook.sandbox.guardrail import held, signals
from drillbook.sandbox.guardrail.asked import Asked
from drillbook.sandbox.guardrail.checker import Checker, NoVerdictError
from drillbook.sandbox.guardrail.held import Held
from drillbook.sandbox.guardrail.series import GatewaySeries
from drillbook.sandbox.guardrail.settings import GatewaySettings
from drillbook.sandbox.guardrail.signals import HEADER, Refusal
from drillbook.sandbox.guardrail.upstream import Route, UpstreamError, Upstreams

BODY_LIMIT = 16 << 20
FORWARDED = ("Authorization", "Content-Type", "Accept", "X-Request-Id")
RETURNED = ("Content-Type", "X-Request-Id", "X-Inference-Pod", "X-Served-By", "Retry-After")
RETRY_AFTER = "1"


class Gateway:
    """One gateway. ``app`` gives what aiohttp serves."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._series = GatewaySeries()
        self._session: aiohttp.ClientSession
        self._checker: Checker
        self._upstreams: Upstreams

    def app(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT)
        app.cleanup_ctx.append(self._connected)
        for path in ("/v1/chat/completions", "/v1/completions"):
            app.router.add_post(path, self._complete)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        return app

    async def _connected(self, _: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0)) as session:
            self._session = session
            self._checker = Checker(self._settings, session, self._series)
            self._upstreams = Upstreams(self._settings, session)
            yield

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response(text="")

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self._series.text())

    async def _models(self, _: web.Request) -> web.Response:
        url = f"{self._settings.upstream.rstrip('/')}/v1/models"
        try:
            async with self._session.get(url, timeout=aiohttp.ClientTimeout(total=5.0)) as answer:
                return web.Response(body=await answer.read(), status=answer.status, content_type=answer.content_type)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return _refused(signals.upstream_failed(str(error) or "no answer"))

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        try:
            asked = requests.read(body)
        except ValueError as error:
            return web.json_response({"error": {"message": str(error), "type": "invalid_request_error"}}, status=400)
        headers = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        failed = UpstreamError("there is no model to ask")
        for route in self._upstreams.routes():
            if route.fallback:
                self._series.fell_back("on" if route.rails else "off")
            verdict = "passed" if route.rails else "unchecked"
            if route.rails:
                judged = await self._judge("input", asked.text)
                if isinstance(judged, Refusal):
                    return _refused(judged)
                verdict = judged
            try:
                async with self._upstreams.ask(route, request.path, body, headers) as answer:
                    return await self._deliver(request, answer, asked, route, verdict)
            except UpstreamError as error:
                failed = error
        if failed.status is not None:
            return web.Response(body=failed.body, status=failed.status, content_type="application/json")
        return _refused(signals.upstream_failed(failed.why))

    async def _judge(self, rail: str, text: str, secret: str = "") -> Refusal | str:
        """Why it may not pass, or with what verdict it does."""
        try:
            judged = await self._checker.check(rail, text, secret)
        except NoVerdictError as error:
            if self._settings.on_error == "block" or error.why == "full":
                return signals.no_verdict(rail, error.why)
            self._series.bypassed(rail)
            return "unchecked"
        return signals.blocked(rail, judged.rule) if judged.flagged else "passed"

    async def _deliver(
        self, request: web.Request, answer: aiohttp.ClientResponse, asked: Asked, route: Route, verdict: str
    ) -> web.StreamResponse:
        headers = {name: answer.headers[name] for name in RETURNED if name in answer.headers} | {HEADER: verdict}
        checked = route.rails and self._settings.output_rails == "on" and answer.status == 200
        if answer.content_type == "text/event-stream":
            response = web.StreamResponse(status=answer.status, headers=headers)
            await response.prepare(request)
            with contextlib.suppress(ConnectionError):  # its user has gone
                await (self._checked_stream if checked else self._stream)(response, answer, asked)
            return response
        try:
            body = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return _refused(signals.upstream_failed(str(error) or type(error).__name__))
        if checked:
            judged = await self._judge("output", held.answer_of(body), asked.secret)
            if isinstance(judged, Refusal):
                return _refused(judged)
            headers[HEADER] = judged if verdict == "passed" else verdict
        return web.Response(body=body, status=answer.status, headers=headers)

    async def _stream(self, response: web.StreamResponse, answer: aiohttp.ClientResponse, _: Asked) -> None:
        try:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except (aiohttp.ClientPayloadError, TimeoutError) as error:
            await response.write(signals.upstream_failed(str(error) or "no more came").event)

    async def _checked_stream(self, response: web.StreamResponse, answer: aiohttp.ClientResponse, asked: Asked) -> None:
        """Deliver events once the rail has passed them; in place of the first that it does not pass, its refusal."""
        rest = Held(self._settings.window)
        ended = False
        try:
            async for event in _events(answer.content):
                rest.take(event)
                ended = ended or b"data: [DONE]" in event
                if rest.due or (ended and rest.unchecked):
                    judged = await self._judge("output", rest.to_check(), asked.secret)
                    if isinstance(judged, Refusal):
                        await response.write(judged.event)
                        return
                    if out := rest.release(everything=ended):
                        await response.write(out)
        except (aiohttp.ClientPayloadError, TimeoutError) as error:
            await response.write(signals.upstream_failed(str(error) or "no more came").event)
            return
        if ended:
            await response.write(rest.release(everything=True))
        else:  # what is held was never judged as a whole: it stays here
            await response.write(signals.upstream_failed("its stream ended early").event)


async def _events(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole events of a stream, each with its blank line."""
    rest = b""
    async for chunk in content.iter_any():
        *events, rest = (rest + chunk.replace(b"\r\n", b"\n")).split(b"\n\n")
        for event in events:
            yield event + b"\n\n"


def _refused(refusal: Refusal) -> web.Response:
    headers = {HEADER: refusal.verdict} | ({"Retry-After": RETRY_AFTER} if refusal.status == 503 else {})
    return web.Response(text=refusal.body, status=refusal.status, content_type="application/json", headers=headers)


def serve(settings: GatewaySettings) -> int:
    """Serve until SIGTERM; returns the exit code."""
    app = Gateway(settings).app()
    web.run_app(app, host=settings.host, port=settings.port, print=None, access_log=None, shutdown_timeout=5.0)
    return 0
