"""Requests that are put to real vLLM and to ``sim`` alike, and what of the answers must be equal: their form."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

from engine_observer import Server, Stream

TALK = [{"role": "user", "content": "Hello there"}]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
USAGE = {"include_usage": True}
REQUESTS: dict[str, tuple[str, Any]] = {
    "chat": (CHAT, {"model": "tiny", "messages": TALK, "max_tokens": 3}),
    "chat without a model": (CHAT, {"messages": TALK, "max_tokens": 3}),
    "chat of parts": (
        CHAT,
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}], "max_completion_tokens": 3},
    ),
    "chat stream": (CHAT, {"model": "tiny", "messages": TALK, "max_tokens": 3, "stream": True}),
    "chat stream with usage": (
        CHAT,
        {"model": "tiny", "messages": TALK, "max_tokens": 3, "stream": True, "stream_options": USAGE},
    ),
    "completion": (TEXT, {"model": "tiny", "prompt": "Hello there", "max_tokens": 3}),
    "completion of default length": (TEXT, {"model": "tiny", "prompt": "Hello there", "ignore_eos": True}),
    "completion stream": (
        TEXT,
        {"model": "tiny", "prompt": "Hello", "max_tokens": 3, "stream": True, "stream_options": USAGE},
    ),
    "unknown model": (TEXT, {"model": "nope", "prompt": "Hello", "max_tokens": 4}),
    "unknown model, stream": (CHAT, {"model": "nope", "messages": TALK, "stream": True}),
    "too many tokens": (TEXT, {"model": "tiny", "prompt": "Hello", "max_tokens": 4000}),
    "too long a prompt": (TEXT, {"model": "tiny", "prompt": "so " * 2000, "max_tokens": 4}),
    "no tokens": (CHAT, {"model": "tiny", "messages": TALK, "max_tokens": 0}),
    "negative temperature": (CHAT, {"model": "tiny", "messages": TALK, "temperature": -1}),
    "no messages": (CHAT, {"model": "tiny"}),
    "messages of the wrong kind": (CHAT, {"model": "tiny", "messages": "hello"}),
    "tokens of the wrong kind": (CHAT, {"model": "tiny", "messages": TALK, "max_tokens": "many"}),
    "usage without a stream": (CHAT, {"model": "tiny", "messages": TALK, "stream_options": USAGE}),
    "no JSON": (CHAT, b'{"model": "tiny",'),
    "not an object": (CHAT, b"[]"),
    "tokenize": ("/tokenize", {"model": "tiny", "prompt": "Hello there"}),
    "nowhere": ("/nope", {}),
    "wrong method": ("/v1/models", {}),
}
LOOKS = ("/v1/models", "/version", "/health", "/ping", "/load", "/nope", CHAT)
KEPT = {"object", "type", "code", "param", "role", "finish_reason", "owned_by", "version", "index", "detail"}
"""Fields whose values must be equal too; of the others only the kind."""


def skeleton(value: Any, key: str = "") -> Any:
    """The form of a JSON value; lists of the same form are one."""
    if isinstance(value, dict):
        return {name: skeleton(item, name) for name, item in value.items()}
    if isinstance(value, list):
        forms = [skeleton(item) for item in value]
        return [form for place, form in enumerate(forms) if form not in forms[:place]]
    if key == "param" and isinstance(value, str):
        return re.sub(r"\d+", "N", value)
    return value if key in KEPT or value is None else type(value).__name__


def events(text: str) -> list[Any]:
    """A stream's events as forms, with the first and the last of each form."""
    found = [row.removeprefix("data: ") for row in text.split("\n\n") if row]
    forms = [row if row == "[DONE]" else skeleton(json.loads(row)) for row in found]
    return [now for before, now in zip([None, *forms], forms, strict=False) if now != before]


async def put(server: Server) -> dict[str, Any]:
    """The forms of all answers. The server has ``--max-num-queued-reqs 2 --enable-request-id-headers``."""
    seen: dict[str, Any] = {}

    async def note(name: str, path: str, body: Any = None, method: str = "POST", **headers: str) -> None:
        status, answered, text = await server.ask(path, body, method=method, **headers)
        kind = answered.get("Content-Type", "").split(";")[0]
        form = events(text) if kind == "text/event-stream" else skeleton(json.loads(text)) if text else None
        seen[name] = {"status": status, "type": kind, "form": form}

    for name, (path, body) in REQUESTS.items():
        await note(name, path, body)
    for path in LOOKS:
        await note(f"GET {path}", path, method="GET")
    await note("not declared as JSON", CHAT, {"model": "tiny", "messages": TALK}, Content_Type="text/plain")
    status, headers, text = await server.ask(*REQUESTS["chat"], X_Request_Id="abc")
    seen["own request id"] = [status, headers["X-Request-Id"], json.loads(text)["id"]]
    long = [Stream(), Stream()]
    tasks = [asyncio.create_task(server.stream(one, 900, 60)) for one in long]
    while any(len(one.events) < 2 for one in long):
        await asyncio.sleep(0.005)
    await note("full queue", *REQUESTS["chat"])
    await note("full queue, stream", *REQUESTS["chat stream"])
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return seen


def families(metrics: str) -> dict[str, Any]:
    """Type, label sets and buckets of every family whose name is vLLM's or HTTP's, the model's configuration aside."""
    found: dict[str, Any] = {}
    name = ""
    for row in metrics.splitlines():
        if row.startswith("# TYPE "):
            _, _, name, kind = row.split(" ")
            found[name] = {"type": kind, "labels": [], "buckets": []}
        elif not row.startswith("#"):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', row.partition("{")[2].rpartition("}")[0]))
            bound = labels.pop("le", None)
            labels = {key: "*" if key in ("handler", "method", "status") else text for key, text in labels.items()}
            if name == "vllm:cache_config_info":
                labels = dict.fromkeys(labels, "*")
            for item, into in ((labels, "labels"), (bound, "buckets")):
                if item is not None and item not in found[name][into]:
                    found[name][into].append(item)
    return {
        name: family for name, family in found.items() if name.startswith(("vllm:", "http_requests", "http_request_d"))
    }


async def main(folder: str, command: list[str]) -> None:
    """Record one server's answers and metrics."""
    server = Server([*command, "--max-num-queued-reqs", "2", "--enable-request-id-headers"])
    await server.start()
    try:
        answers = await put(server)
        metrics = families(await server.text("/metrics"))
    finally:
        await server.stop()
    for name, content in (("answers", answers), ("metrics", metrics)):
        (Path(folder) / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[sys.argv.index("--") + 1 :]))
