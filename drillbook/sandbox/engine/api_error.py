"""Errors as vLLM's API words and shapes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

ENGINE_DEAD = "EngineCore encountered an issue. See stack trace (above) for the root cause."
QUEUE_FULL = {
    "max_num_queued_reqs": "The engine is busy and cannot accept new requests. Try again later or elsewhere.",
    "max_num_queued_tokens": "The engine has all the prompt tokens that it takes. Try again later or elsewhere.",
}
"""The message, by the limit that was reached."""


@dataclass(frozen=True)
class APIError(Exception):
    """A request that gets an error for an answer: HTTP status and vLLM's error object."""

    status: int
    type: str
    message: str
    param: str | None = None

    def body(self) -> dict[str, Any]:
        """The error object."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.status}}

    def events(self) -> bytes:
        """The same at the end of a stream that has begun as a 200."""
        return f"data: {json.dumps(self.body())}\n\ndata: [DONE]\n\n".encode()


def bad_request(message: str, param: str | None = None) -> APIError:
    return APIError(400, "BadRequestError", message, param)


def bad_value(message: str, param: str, value: object) -> APIError:
    """A parameter with a value that vLLM does not take."""
    return bad_request(f"{message} (parameter={param}, value={value})", param)


def malformed(kind: str, place: str, message: str, found: str) -> APIError:
    """A body that does not have the request's form."""
    text = f"1 validation error:\n  {{'type': '{kind}', 'loc': '{place}', 'msg': '{message}', 'input': {found}}}"
    return APIError(400, "Bad Request", text, place)


def engine_dead() -> APIError:
    return APIError(500, "InternalServerError", ENGINE_DEAD)


def shutting_down() -> APIError:
    return APIError(500, "InternalServerError", "cannot schedule new futures after shutdown")


def queue_full(limit: str) -> APIError:
    return APIError(503, "Service Unavailable", QUEUE_FULL[limit])
