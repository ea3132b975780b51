"""Keeps secrets out of everything that is written or shown: journals, messages, findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

HIDDEN = "********"
_SHORTEST = 4
"""Characters from which on a secret is also looked for inside longer texts."""


class Redactor:
    """Knows the secrets of one run, and hides them."""

    def __init__(self, secrets: Mapping[str, Any]) -> None:
        self._values = sorted(set(_leaves(secrets)), key=len, reverse=True)

    def text(self, text: str) -> str:
        for value in self._values:
            if text == value:
                return HIDDEN
            if len(value) >= _SHORTEST:
                text = text.replace(value, HIDDEN)
        return text

    def data(self, value: Any) -> Any:
        """A copy of plain data (JSON) without them."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(str(key)): self.data(item) for key, item in value.items()}
            case list():
                return [self.data(item) for item in value]
            case bool() | None:
                return value
            case int() | float() if str(value) in self._values:
                return HIDDEN
        return value


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _leaves(item)
    elif value is not None and not isinstance(value, bool) and str(value):
        yield str(value)
