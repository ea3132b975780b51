"""What a request asks for: read from its body, or refused as vLLM refuses it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from drillbook.sandbox.engine.api_error import APIError, bad_request, bad_value, malformed
from drillbook.sandbox.engine.conversation import Turn
from drillbook.sandbox.engine.replies import tokens

COMPLETION_TOKENS = 16
"""``max_tokens`` of ``/v1/completions`` where the request gives none."""


@dataclass(frozen=True)
class Question:
    """A valid request. ``prompt``, ``limit`` (``max_tokens``) and ``least`` (``min_tokens``) count tokens."""

    model: str
    turns: tuple[Turn, ...]
    prompt: int
    limit: int
    least: int
    ignore_eos: bool
    stop: tuple[str, ...]
    stream: bool
    include_usage: bool


def read(raw: bytes, content_type: str, *, chat: bool, served: Sequence[str], max_model_len: int) -> Question:
    """Read a request's body.

    :raises APIError: it is not one that vLLM would take.
    """
    if content_type != "application/json":
        message = "1 validation error:\n  Unsupported Media Type: Only 'application/json' is allowed"
        raise APIError(400, "Bad Request", message)
    try:
        body = json.loads(raw)
    except ValueError as error:
        place = f"body.{getattr(error, 'pos', 0)}"
        raise malformed("json_invalid", place, "JSON decode error", "'<dict of 0 items>'") from None
    if not isinstance(body, dict):
        raise malformed("model_attributes_type", "body", "Input should be a valid dictionary", "'<not a dict>'")
    turns = conversation(body, chat=chat)
    model = body.get("model") or served[0]
    if model not in served:
        message = f"The model `{model}` does not exist. Valid aliases: {', '.join(served)}."
        raise APIError(404, "NotFoundError", message, "model")
    prompt = sum(len(tokens(turn.text)) + (3 if chat else 0) for turn in turns)
    name = "max_completion_tokens" if body.get("max_completion_tokens") is not None else "max_tokens"
    limit = whole_number(body, name, least=1)
    room = max_model_len - prompt
    if limit is not None and limit > max_model_len:
        text = f"{name}={limit} cannot be greater than max_model_len={max_model_len}."
        raise bad_value(f"{text} Please request fewer output tokens.", name, limit)
    if room < 1 or (limit or 1) > room:
        asked = f"{limit or 1} output tokens and {prompt} input tokens"
        raise bad_request(f"This model takes {max_model_len} tokens in all; the request has {asked}.", "input_tokens")
    if limit is None:
        limit = room if chat else min(room, COMPLETION_TOKENS)
    check_sampling(body)
    stream = bool(body.get("stream"))
    options = body.get("stream_options")
    if options and not stream:
        raise bad_request("Stream options can only be defined when `stream=True`.", "stream_options")
    stop = body.get("stop") or ()
    return Question(
        model=str(model),
        turns=turns,
        prompt=prompt,
        limit=limit,
        least=min(whole_number(body, "min_tokens", least=0) or 0, limit),
        ignore_eos=bool(body.get("ignore_eos")),
        stop=(stop,) if isinstance(stop, str) else tuple(str(one) for one in stop),
        stream=stream,
        include_usage=bool(isinstance(options, dict) and options.get("include_usage")),
    )


def conversation(body: dict[str, Any], *, chat: bool) -> tuple[Turn, ...]:
    """The request's messages, or its prompt as one turn.

    :raises APIError: they are missing or of the wrong kind.
    """
    field = "messages" if chat else "prompt"
    if field not in body:
        raise malformed("missing", f"body.{field}", "Field required", f"'<dict of {len(body)} items>'")
    value = body[field]
    if not chat:
        parts = value if isinstance(value, list) else [value]
        return (Turn("prompt", " ".join(str(part) for part in parts)),)
    if not isinstance(value, list):
        raise malformed("list_type", "body.messages", "Input should be a valid list", repr(value))
    if not all(isinstance(message, dict) for message in value):
        raise malformed("model_attributes_type", "body.messages.0", "Input should be a valid dictionary", "'<item>'")
    return tuple(Turn.of(message) for message in value)


def whole_number(body: dict[str, Any], name: str, *, least: int) -> int | None:
    """A parameter that counts something.

    :raises APIError: it is no whole number, or too small.
    """
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise malformed("int_parsing", f"body.{name}", "Input should be a valid integer", repr(value))
    if value < least:
        raise bad_value(f"{name} must be at least {least}, got {value}.", name, value)
    return value


def check_sampling(body: dict[str, Any]) -> None:
    """:raises APIError: a sampling parameter is out of bounds, or asks for what ``sim`` cannot do."""
    temperature = body.get("temperature")
    if isinstance(temperature, int | float) and temperature < 0:
        value = float(temperature)
        raise bad_value(f"temperature must be non-negative, got {value}.", "temperature", value)
    if body.get("n") not in (None, 1):
        raise bad_value("sim gives one answer a request: n must be 1.", "n", body["n"])
