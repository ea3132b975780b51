"""Turns of a conversation, and how vLLM's API writes them down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Turn:
    """What one side said."""

    role: str
    text: str

    @classmethod
    def of(cls, message: dict[str, Any]) -> Turn:
        """Read one of a request's messages; content parts other than text count for nothing."""
        content = message.get("content") or ""
        if isinstance(content, list):
            content = "\n".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
        return cls(str(message.get("role", "user")), str(content))
