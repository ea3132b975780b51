"""The port of a helper's program."""

from __future__ import annotations

from typing import Any, Protocol


class Program(Protocol):
    """One thing done on a node, and taken away again. Made from its arguments; see the package."""

    @property
    def held(self) -> bool:
        """False where it is done in a moment and leaves nothing to clear."""

    def apply(self) -> dict[str, Any]:
        """Do it, and answer what was done.

        :raises DrillbookError: it was not done; nothing of it is in place.
        """

    def clear(self) -> dict[str, Any]:
        """Take away whatever of it there is, and answer what was found.

        :raises DrillbookError: something of it may be left.
        """
