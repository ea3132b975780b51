"""A server on loopback that misbehaves by script: each answer is a list of steps, chosen by the prompt's own words."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from drillbook.load.client import Client

Step = Callable[["Reply"], Awaitable[None]]


def chunk(content: str | None = None, *, role: str | None = None, finish: str | None = None) -> dict[str, Any]:
    delta = {key: value for key, value in (("role", role), ("content", content)) if value is not None}
    return {"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


class Reply:
    """What a step of a script can do to one answer."""

    def __init__(self, request: web.Request, body: dict[str, Any], server: ScriptedServer) -> None:
        self.request, self.body, self.server = request, body, server
        self.response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **server.headers})

    async def raw(self, data: bytes) -> None:
        if not self.response.prepared:
            await self.response.prepare(self.request)
        await self.response.write(data)

    async def event(self, payload: Any) -> None:
        await self.raw(b"data: " + (payload if isinstance(payload, bytes) else json.dumps(payload).encode()) + b"\n\n")

    async def tokens(self, count: int, gap: float = 0.0) -> None:
        for index in range(count):
            if gap:
                await asyncio.sleep(gap)
            await self.event(chunk(f"w{index} "))

    async def finish(self, reason: str | None = "length", done: bool = True) -> None:
        if reason:
            await self.event(chunk("", finish=reason))
            usage = {"prompt_tokens": 7, "completion_tokens": self.body.get("max_tokens", 0)}
            await self.event({"object": "chat.completion.chunk", "choices": [], "usage": usage})
        if done:
            await self.event(b"[DONE]")

    def cut(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()

    async def forever(self) -> None:
        await self.server.closing.wait()


class ScriptedServer:
    """``script`` answers every request; change it at any time."""

    def __init__(self) -> None:
        self.closing = asyncio.Event()
        self.script: Callable[[Reply], Awaitable[web.StreamResponse | None]] = whole
        self.headers: dict[str, str] = {}
        self.seen: list[dict[str, Any]] = []
        self.seen_headers: list[dict[str, str]] = []
        self.connections: set[int] = set()
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(await request.json())
        self.seen_headers.append({name.lower(): value for name, value in request.headers.items()})
        self.connections.add(id(request.transport))
        reply = Reply(request, self.seen[-1], self)
        return await self.script(reply) or reply.response


async def whole(reply: Reply) -> web.StreamResponse | None:
    if not reply.body.get("stream"):
        text = "".join(f"w{index} " for index in range(reply.body["max_tokens"]))
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"}
        usage = {"prompt_tokens": 7, "completion_tokens": reply.body["max_tokens"]}
        return web.json_response({"object": "chat.completion", "choices": [choice], "usage": usage})
    await reply.event(chunk("", role="assistant"))
    await reply.tokens(reply.body["max_tokens"])
    await reply.finish()
    return None


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    scripted = ScriptedServer()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", scripted.handle)
    app.router.add_post("/v1/completions", scripted.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    scripted.url = "http://{}:{}".format(*runner.addresses[0][:2])
    yield scripted
    scripted.closing.set()
    await runner.cleanup()


@pytest.fixture
async def client(server: ScriptedServer) -> AsyncIterator[Client]:
    """One that waits longer than a busy machine can stand still."""
    async with Client(server.url, "tiny", stall_timeout=30, timeout=60) as client:
        yield client


@pytest.fixture
async def impatient(server: ScriptedServer) -> AsyncIterator[Client]:
    async with Client(server.url, "tiny", stall_timeout=1, timeout=60) as client:
        yield client
