"""What the gateway says on the wire when it is no answer of the model's. The forms are those that stacks in use have.

| what | status | ``error.type`` | ``error.code`` | ``X-Guardrail-Verdict`` |
|---|---|---|---|---|
| a prompt or an answer was blocked | 400 | ``guardrails_violation`` | ``content_blocked`` | ``blocked`` |
| no verdict, and ``on-error: block`` | 503 | ``internal_error`` | ``rail_execution_failure`` | ``failed`` |
| too many checks, and ``when-full: shed`` | 503 | ``overloaded`` | ``queue_full`` | ``full`` |
| no verdict, and ``on-error: allow`` | the model's answer | | | ``unchecked`` |
| checked and passed | the model's answer | | | ``passed`` |

Inside a stream, whose status is sent already, the same ``{"error": …}`` is an event, and ``[DONE]`` follows it.
``error.param`` says which rail: ``input`` or ``output``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

HEADER = "X-Guardrail-Verdict"


@dataclass(frozen=True)
class Refusal:
    """The gateway's own word instead of an answer."""

    status: int
    verdict: str
    message: str
    type: str
    code: str
    rail: str = ""

    @property
    def body(self) -> str:
        error = {"message": self.message, "type": self.type, "param": self.rail or None, "code": self.code}
        return json.dumps({"error": error})

    @property
    def event(self) -> bytes:
        """As the last event of a stream."""
        return f"data: {self.body}\n\ndata: [DONE]\n\n".encode()


def blocked(rail: str, rule: str) -> Refusal:
    """The classifier flagged it."""
    words = f"Blocked by the {rail} rail: {rule}."
    return Refusal(400, "blocked", words, "guardrails_violation", "content_blocked", rail)


def no_verdict(rail: str, why: str) -> Refusal:
    """The classifier said nothing, and nothing passes unchecked."""
    if why == "full":
        return Refusal(503, "full", "Too many checks are under way.", "overloaded", "queue_full", rail)
    words = f"The {rail} rail gave no verdict ({why})."
    return Refusal(503, "failed", words, "internal_error", "rail_execution_failure", rail)


def upstream_failed(why: str) -> Refusal:
    """No model answered, or it stopped in the middle."""
    return Refusal(502, "passed", f"The model's server failed: {why}.", "upstream_error", "bad_gateway")
