"""Answers in the forms of the two OpenAI endpoints, field by field as vLLM 0.32 writes them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from drillbook import clock
from drillbook.sandbox.engine.generation import Generation

FINGERPRINT = "vllm-0.32.0-sim"
DONE = b"data: [DONE]\n\n"


def dump(value: Any) -> str:
    """Compact JSON, as pydantic writes it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def usage(generation: Generation, *, whole: bool) -> dict[str, Any]:
    """Token counts; whole answers have two more fields than streams."""
    total = generation.prompt + generation.produced
    counts: dict[str, Any] = {
        "prompt_tokens": generation.prompt,
        "total_tokens": total,
        "completion_tokens": generation.produced,
    }
    if whole:
        counts |= {"prompt_tokens_details": None, "completion_tokens_details": None}
    return counts


@dataclass
class Head:
    """What every event of one answer has in common."""

    id: str
    object: str
    model: str
    created: int = field(default_factory=lambda: int(clock.wall()))

    def last(self, generation: Generation, *, usage_follows: bool) -> str:
        """What a stream's last event has besides: the fingerprint, which the usage has where it follows."""
        return f',"system_fingerprint":"{FINGERPRINT}"' if generation.finish and not usage_follows else ""

    def event(self, rest: str) -> bytes:
        """One event: the common fields, then ``rest`` (JSON without braces)."""
        start = f'"id":{dump(self.id)},"object":"{self.object}","created":{self.created},"model":{dump(self.model)}'
        return f"data: {{{start},{rest}}}\n\n".encode()

    def usage(self, generation: Generation) -> bytes:
        """The last event where ``stream_options.include_usage`` asks for it."""
        counts = dump(usage(generation, whole=False))
        return self.event(f'"choices":[],"usage":{counts},"system_fingerprint":"{FINGERPRINT}"')

    def fields(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def ending(generation: Generation) -> str:
    """The finish reason as JSON."""
    return dump(generation.finish or None)


class ChatForm(Head):
    """``/v1/chat/completions``."""

    def __init__(self, answer: str, model: str) -> None:
        super().__init__(f"chatcmpl-{answer}", "chat.completion.chunk", model)

    def opening(self) -> Sequence[bytes]:
        delta = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}'
        return [self.event(f'"choices":[{delta}],"prompt_token_ids":null,"prompt_text":null')]

    def token(self, text: str, generation: Generation, *, usage_follows: bool) -> bytes:
        reason = '"stop_reason":' + dump(generation.stop_reason) + "," if generation.finish else ""
        choice = f'"index":0,"delta":{{"content":{dump(text)}}},"logprobs":null,"finish_reason":{ending(generation)}'
        last = self.last(generation, usage_follows=usage_follows)
        return self.event(f'"choices":[{{{choice},{reason}"token_ids":null}}]{last}')

    def whole(self, generation: Generation) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": generation.text}
        message |= dict.fromkeys(("refusal", "annotations", "audio", "function_call", "reasoning"))
        choice = {
            "index": 0,
            "message": message,
            "logprobs": None,
            "finish_reason": generation.finish,
            "stop_reason": generation.stop_reason,
            "token_ids": None,
            "routed_experts": None,
        }
        answer = self.fields("chat.completion") | {"choices": [choice], "service_tier": None}
        answer |= {"system_fingerprint": FINGERPRINT, "usage": usage(generation, whole=True)}
        absent = ("prompt_logprobs", "prompt_token_ids", "prompt_text", "kv_transfer_params", "ec_transfer_params")
        return answer | dict.fromkeys((*absent, "metrics"))


class CompletionForm(Head):
    """``/v1/completions``."""

    def __init__(self, answer: str, model: str) -> None:
        super().__init__(f"cmpl-{answer}", "text_completion", model)

    def opening(self) -> Sequence[bytes]:
        return []

    def token(self, text: str, generation: Generation, *, usage_follows: bool) -> bytes:
        ended = f'"finish_reason":{ending(generation)},"stop_reason":{dump(generation.stop_reason)}'
        choice = f'"index":0,"text":{dump(text)},"logprobs":null,{ended},"prompt_token_ids":null,"token_ids":null'
        last = self.last(generation, usage_follows=usage_follows)
        return self.event(f'"choices":[{{{choice}}}]{last}')

    def whole(self, generation: Generation) -> dict[str, Any]:
        choice = {
            "index": 0,
            "text": generation.text,
            "logprobs": None,
            "finish_reason": generation.finish,
            "stop_reason": generation.stop_reason,
        }
        choice |= dict.fromkeys(("token_ids", "prompt_logprobs", "prompt_token_ids", "routed_experts"))
        answer = self.fields(self.object) | {"choices": [choice], "service_tier": None}
        answer |= {"system_fingerprint": FINGERPRINT, "usage": usage(generation, whole=True)}
        return answer | dict.fromkeys(("kv_transfer_params", "ec_transfer_params", "metrics"))


Form = ChatForm | CompletionForm
