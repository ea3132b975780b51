"""The end of a stream that is held back: events wait here until what they say has been checked together with what
went before and with what comes after, so that nothing shorter than the window is ever delivered by half.
"""

from __future__ import annotations

import json
from collections import deque

MEMORY = 4096
"""Characters of what was delivered that each check still sees."""


class Held:
    """Events of one answer, with the text that each adds."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._events: deque[tuple[bytes, int]] = deque()
        self._text = ""
        self._kept = 0
        """Characters at the end of ``_text`` that are not delivered."""
        self._unchecked = 0

    def take(self, event: bytes) -> None:
        """An event that came from the model."""
        said = text_of(event)
        self._events.append((event, len(said)))
        self._text += said
        self._kept += len(said)
        self._unchecked += len(said)

    @property
    def due(self) -> bool:
        """Whether enough has come to ask the classifier once more."""
        return self._unchecked >= self._window

    @property
    def unchecked(self) -> bool:
        return self._unchecked > 0

    def to_check(self) -> str:
        """What to ask: all that is held, behind the end of what was delivered."""
        self._unchecked = 0
        return self._text

    def release(self, *, everything: bool = False) -> bytes:
        """Events whose text has been checked and is no longer within the window."""
        out = bytearray()
        while self._events and (everything or self._kept - self._events[0][1] >= self._window):
            event, size = self._events.popleft()
            self._kept -= size
            out += event
        self._text = self._text[-(MEMORY + self._kept) :]
        return bytes(out)


def text_of(event: bytes) -> str:
    """The content that one event of a stream adds for its user, reasoning and tools' arguments included."""
    said = []
    for line in event.split(b"\n"):
        if not line.startswith(b"data:") or line.endswith(b"[DONE]"):
            continue
        try:
            chunk = json.loads(line[5:])
        except ValueError:
            continue
        said += [_words(choice) for choice in chunk.get("choices") or () if isinstance(choice, dict)]
    return "".join(said)


def answer_of(body: bytes) -> str:
    """The content of a whole answer; all of it where it is none that we know."""
    try:
        choices = json.loads(body)["choices"]
        return "\n".join(_words(choice) for choice in choices)
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode("utf-8", "replace")


def _words(choice: dict[str, object]) -> str:
    part = choice.get("delta") or choice.get("message") or {"content": choice.get("text")}
    if not isinstance(part, dict):
        return ""
    said = [str(part[key]) for key in ("reasoning", "reasoning_content", "content") if part.get(key)]
    if part.get("tool_calls"):
        said.append(json.dumps(part["tool_calls"]))
    return "".join(said)
