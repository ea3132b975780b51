"""The HTTP endpoints of the API server."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from typing import Any

from aiohttp import web

from drillbook import clock
from drillbook.sandbox.engine import answers, log, question
from drillbook.sandbox.engine.api_error import APIError
from drillbook.sandbox.engine.engine_client import EngineClient
from drillbook.sandbox.engine.generation import Generation
from drillbook.sandbox.engine.http_series import ProcessSeries
from drillbook.sandbox.engine.metrics import Registry
from drillbook.sandbox.engine.replies import Reply, tokens
from drillbook.sandbox.engine.settings import Settings

VERSION = "0.32.0"
SSE = {"Content-Type": "text/event-stream; charset=utf-8"}


class Routes:
    """What each path answers."""

    def __init__(
        self,
        engine: EngineClient,
        registry: Registry,
        own: ProcessSeries,
        *,
        served: list[str],
        root: str,
        max_model_len: int,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._registry = registry
        self._own = own
        self._served = served
        self._root = root
        self._max_model_len = max_model_len
        self._settings = settings

    def table(self) -> list[web.RouteDef]:
        """Every route, for aiohttp."""
        return [
            web.get("/health", self.health),
            web.get("/ping", self.health),
            web.post("/ping", self.health),
            web.get("/version", self.version),
            web.get("/metrics", self.metrics),
            web.get("/load", self.load),
            web.get("/v1/models", self.models),
            web.post("/tokenize", self.tokenize),
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completion),
        ]

    async def health(self, request: web.Request) -> web.Response:
        """503 only once the engine's process is known to be dead; a hung engine is healthy."""
        return web.Response(status=503 if self._engine.errored else 200)

    async def version(self, request: web.Request) -> web.Response:
        return reply({"version": VERSION})

    async def load(self, request: web.Request) -> web.Response:
        return reply({"server_load": 0})  # vLLM counts only with --enable-server-load-tracking

    async def metrics(self, request: web.Request) -> web.Response:
        self._own.refresh()
        kind = {"Content-Type": "text/plain; version=1.0.0; charset=utf-8"}
        return web.Response(body=self._registry.text().encode(), headers=kind)

    async def models(self, request: web.Request) -> web.Response:
        """The names that requests may use; 200 whatever the engine's state."""
        now = int(clock.wall())
        return reply({"object": "list", "data": [self._card(name, now) for name in self._served]})

    def _card(self, name: str, now: int) -> dict[str, Any]:
        allowed = {"create_engine": False, "sampling": True, "logprobs": True, "search_indices": False, "view": True}
        permission = {"id": f"modelperm-{uuid.uuid4().hex[:16]}", "object": "model_permission", "created": now}
        permission |= {f"allow_{what}": yes for what, yes in allowed.items()}
        permission |= {"allow_fine_tuning": False, "organization": "*", "group": None, "is_blocking": False}
        card = {"id": name, "object": "model", "created": now, "owned_by": "vllm", "root": self._root, "parent": None}
        return card | {"max_model_len": self._max_model_len, "permission": [permission]}

    async def tokenize(self, request: web.Request) -> web.Response:
        """Count a prompt's tokens as this engine counts them."""
        body = await request.read()
        try:
            chat = b'"messages"' in body
            asked = self._read(body, request, chat=chat)
        except APIError as error:
            return refused(error)
        pieces = [piece for turn in asked.turns for piece in tokens(turn.text)]
        ids = [zlib.crc32(piece.encode()) % 32000 for piece in pieces]
        return reply({"count": len(ids), "max_model_len": self._max_model_len, "tokens": ids, "token_strs": None})

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=True)

    async def completion(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, chat=False)

    def _read(self, body: bytes, request: web.Request, *, chat: bool) -> question.Question:
        return question.read(
            body, request.content_type, chat=chat, served=self._served, max_model_len=self._max_model_len
        )

    async def _generate(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        try:
            asked = self._read(await request.read(), request, chat=chat)
            self._engine.check_alive()
            self._engine.check_admission()
        except APIError as error:
            return refused(error)
        await asyncio.sleep(self._settings.render)
        identity = request.headers.get("X-Request-Id") or uuid.uuid4().hex[:16]
        form = answers.ChatForm(identity, asked.model) if chat else answers.CompletionForm(identity, asked.model)
        generation = self._start(asked)
        if asked.stream:
            return await self._stream(request, form, generation, include_usage=asked.include_usage)
        try:
            self._engine.submit(generation)
            async for _ in generation.pieces():
                pass
        except APIError as error:
            return refused(error)
        finally:
            self._engine.abort(generation)
        return reply(form.whole(generation))

    def _start(self, asked: question.Question) -> Generation:
        answer = Reply(asked.turns, self._settings.seed)
        natural = asked.limit + 1 if asked.ignore_eos else max(answer.natural, asked.least)
        return Generation(uuid.uuid4().hex, asked.prompt, asked.limit, natural, answer, asked.stop)

    async def _stream(
        self, request: web.Request, form: answers.Form, generation: Generation, *, include_usage: bool
    ) -> web.StreamResponse:
        # vLLM has sent its 200 before it asks the engine: all that fails from here on fails inside the stream.
        response = web.StreamResponse(headers=SSE)
        await response.prepare(request)
        try:
            self._engine.submit(generation)
            opening = b"".join(form.opening())
            async for text in generation.pieces():
                await response.write(opening + form.token(text, generation, usage_follows=include_usage))
                opening = b""
            if include_usage:
                await response.write(form.usage(generation))
            await response.write(answers.DONE)
        except APIError as error:
            log.error("serving.py", "Error in the stream generator.")
            await response.write(error.events())
        except ConnectionResetError:
            pass  # the client has gone; the request is aborted below
        finally:
            self._engine.abort(generation)
        return response


def reply(value: Any, status: int = 200) -> web.Response:
    """A JSON answer with vLLM's headers."""
    return web.Response(body=answers.dump(value).encode(), status=status, headers={"Content-Type": "application/json"})


def refused(error: APIError) -> web.Response:
    return reply(error.body(), error.status)
