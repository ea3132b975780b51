"""What a request asks, as far as the rails care: what others wrote into it, and what its answer may not repeat."""

from __future__ import annotations

import json
from dataclasses import dataclass

from drillbook.sandbox.engine.conversation import Turn

TRUSTED = ("system", "developer")
"""Roles that the operator writes. All others are checked: tools and documents carry injections too."""


@dataclass(frozen=True)
class Asked:
    """One request, read."""

    text: str
    """All that is not the operator's own."""
    secret: str
    """The operator's words: the system prompt."""


def read(body: bytes) -> Asked:
    """Read a request's body.

    :raises ValueError: it is no request of the two OpenAI endpoints.
    """
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    if "messages" not in found:
        prompt = found.get("prompt", "")
        return Asked(" ".join(map(str, prompt)) if isinstance(prompt, list) else str(prompt), "")
    if not isinstance(found["messages"], list):
        raise ValueError("messages is no list")
    turns = [Turn.of(message) for message in found["messages"] if isinstance(message, dict)]
    return Asked(
        "\n".join(turn.text for turn in turns if turn.role not in TRUSTED),
        "\n".join(turn.text for turn in turns if turn.role in TRUSTED),
    )
