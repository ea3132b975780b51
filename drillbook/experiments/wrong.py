"""One inconsistency of an experiment, before it has its place in the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Wrong:
    """A sentence about the value at ``path`` (keys as the file writes them)."""

    path: Sequence[str | int]
    message: str
    hint: str = ""
