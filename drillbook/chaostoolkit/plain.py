"""Whatever a function returned, as JSON: what has no JSON form is kept as its ``repr``, and never breaks a journal."""

from __future__ import annotations

import math
from typing import Any

DEEPEST = 40
LONGEST = 1_000_000
"""Characters of one text that are kept."""


def plain(value: Any, depth: int = 0) -> Any:
    """A copy that ``json`` can write: bytes as text, NaN and objects as their ``repr``."""
    match value:
        case None | bool():
            return value
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else repr(value)
        case str():
            return value[:LONGEST].encode("utf-8", "backslashreplace").decode()
        case bytes():
            return value[:LONGEST].decode("utf-8", "backslashreplace")
    if depth >= DEEPEST:
        return shown(value)
    if isinstance(value, dict):
        return {str(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item, depth + 1) for item in value]
    return shown(value)


def shown(value: Any) -> str:
    """The ``repr`` of anything, even of what fails to give one."""
    try:
        return repr(value)[:LONGEST]
    except Exception as error:  # noqa: BLE001 - a user's object may do anything in __repr__, and the journal must live
        return f"<{type(value).__name__}, whose repr fails: {type(error).__name__}>"
