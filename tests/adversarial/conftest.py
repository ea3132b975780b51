"""A guarded model in a few lines: how it blocks, and whether it does, can be changed while it serves."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

ROOT = Path(__file__).resolve().parents[2]


def chat(text, **extra):
    message = {"role": "assistant", "content": text}
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], **extra}


@dataclass
class Guarded:
    """Blocks what ``flagged`` says, with ``block``; answers everything else with ``answer``."""

    url: str = ""
    closed: bool = True
    block: tuple[int, object] = (403, {"oops": "E-17"})
    answer: str = "A duck says quack."
    bodies: list[dict] = field(default_factory=list)
    headers: list[dict] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)

    def flagged(self, text: str) -> bool:
        from drillbook.sandbox.guardrail import rules

        return rules.judge("input", text).flagged

    async def complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        await self.held.wait()
        said = body["messages"][-1]["content"]
        if self.closed and self.flagged(said):
            status, told = self.block
            return web.json_response(told, status=status)
        system = next((row["content"] for row in body["messages"] if row["role"] == "system"), "")
        text = self.answer.format(system=system, said=said)
        if not body.get("stream"):
            return web.json_response(chat(text))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in [text[:5], text[5:]]:
            await response.write(f"data: {web.json_response(delta(piece)).text}\n\n".encode())
        await response.write(f"data: {web.json_response(delta(None)).text}\n\ndata: [DONE]\n\n".encode())
        return response


def delta(text):
    choice = {"index": 0, "delta": {"content": text} if text is not None else {}}
    return {"choices": [choice | {"finish_reason": "stop" if text is None else None}]}


@pytest.fixture
async def guarded() -> AsyncIterator[Guarded]:
    served = Guarded()
    served.held.set()

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "stub"}]})

    app = web.Application(client_max_size=1 << 26)
    app.router.add_post("/v1/chat/completions", served.complete)
    app.router.add_get("/v1/models", models)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield served
    await runner.cleanup()


@pytest.fixture(scope="session")
def garak_python() -> str:
    """An interpreter that has garak: the environment of ``make garak-env``, or this one."""
    import importlib.util

    named = os.environ.get("DRILLBOOK_GARAK_PYTHON") or str(ROOT / ".venv-garak/bin/python")
    if Path(named).is_file():
        return named
    if importlib.util.find_spec("garak") is not None:
        return sys.executable
    pytest.skip("no garak here (make garak-env)")
