"""What an answer said: its events or its body, gathered into what an outcome is judged by. No I/O.

Knows the OpenAI shapes (chat and completions, streamed and not) and those of errors: ``{"error": {"message", "code"}}``
as vLLM sends them inside a stream and out of it, ``{"error": "text"}``, ``{"object": "error", "message", "code"}`` of
older servers, ``{"detail": …}`` of gateways, and SSE events named ``error``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from drillbook.load.sse import Event

EXCERPT = 300
"""Characters of a server's own words that a record keeps."""


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    message: _Said | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Payload(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None
    object: str = ""
    message: Any = None
    detail: Any = None
    code: Any = None


_decode = msgspec.json.Decoder(_Payload).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""What the decoder raises for anything but a completion: no JSON, other types, no UTF-8, a bomb of brackets."""


class Heard:
    """All that one answer has said so far."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.text: list[str] = []
        """The content chunks (reasoning included), in order."""
        self.tools = False
        """Whether tools were called: an answer without text may be whole then."""
        self.finish_reason: str | None = None
        self.error: str | None = None
        """What the server itself said went wrong, in one line; None where it said nothing of the kind."""
        self.code: int | None = None
        """The error's code, where it is a number."""
        self.done = False
        """The stream said ``[DONE]``, or the body of an answer that is no stream was whole."""
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def event(self, event: Event) -> bool:
        """Take one event of a stream. True where it brought content that a user can see."""
        if event.data == "[DONE]":
            self.done = True
            return False
        try:
            payload = _decode(event.data)
        except _UNREADABLE:
            payload = None
        if event.name == "error" and (payload is None or payload.error is None):
            self._fail(event.data, payload.code if payload else None)
            return False
        if payload is None:
            self._fail(f"an event of the stream is not a completion chunk: {event.data}", None)
            return False
        return self._take(payload)

    def body(self, body: bytes) -> bool:
        """Take the whole body of an answer that is no stream. True where it brought content."""
        try:
            payload = _decode(body)
        except _UNREADABLE:
            self._fail(body.decode("utf-8", "replace") or f"HTTP {self.status} without a body", None)
            return False
        if payload.error is None and not payload.choices:
            told = payload.message or payload.detail
            self._fail(str(told) if told else body.decode("utf-8", "replace"), payload.code)
            return False
        content = self._take(payload)
        self.done = self.error is None
        return content

    def _take(self, payload: _Payload) -> bool:
        if payload.error is not None or payload.object == "error":
            error = payload.error if payload.error is not None else {"message": payload.message, "code": payload.code}
            told = error if isinstance(error, dict) else {"message": error}
            self._fail(str(told.get("message") or told), told.get("code", payload.code))
            return False
        if payload.usage is not None:
            self.prompt_tokens = payload.usage.prompt_tokens or 0
            self.completion_tokens = payload.usage.completion_tokens or 0
        content = False
        for choice in payload.choices:
            said = choice.delta or choice.message
            text = choice.text if said is None else said.content or said.reasoning or said.reasoning_content
            if text:
                self.text.append(text)
                content = True
            if said is not None and said.tool_calls:
                self.tools = content = True
            if choice.finish_reason:
                self.finish_reason = choice.finish_reason
        return content

    def _fail(self, message: str, code: object) -> None:
        if self.error is None:  # the first error is the cause; what follows it is its echo
            self.error = one_line(message)
            self.code = int(code) if isinstance(code, int | str) and str(code).isdigit() else None


def one_line(text: str) -> str:
    """Anyone's words as one line of bounded length."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
