"""Every error that a user can meet, as one tree. Each knows its exit code and what to do next.

::

    DrillbookError               70  a bug of ours unless a subclass says otherwise
    ├── UsageError                2  the command line asks for something that makes no sense
    │   └── InvalidFileError      2  an experiment, probe, playbook or journal file is wrong; carries all its problems
    ├── PreflightError            4  known before anything was touched: nothing selected, no permission, no target
    │   ├── UnsupportedError      4  this fault cannot be done on this target, and here is why
    │   └── UnreachableError      4  the target does not answer
    ├── RefusedError              3  the target said no during the run; nothing of the fault is in place
    └── UndoError                 5  something that drillbook did may still be there
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path


class Exit(enum.IntEnum):
    """Exit codes of every drillbook command."""

    HELD = 0
    """Every expectation held (or the command simply succeeded)."""
    REFUTED = 1
    """At least one valid expectation was refuted, or an abort condition tripped."""
    USAGE = 2
    """Wrong usage or an invalid file; nothing was touched."""
    INCONCLUSIVE = 3
    """The run cannot say: no bite, no baseline, no data, a lagging generator."""
    PREFLIGHT = 4
    """The target is unreachable, or preflight failed; nothing was touched."""
    UNDO_FAILED = 5
    """Undo failed, the target may still be broken. Overrides every other."""
    INTERNAL = 70
    """A bug in drillbook (EX_SOFTWARE)."""
    INTERRUPTED = 130
    """Interrupted by a person or a signal, after undo."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a file, told so that a person can mend it.

    ``line`` and ``column`` count from 1; 0 means that the place is not known.
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        text = f"{place}: {self.message}"
        if self.excerpt:
            text += "\n" + "\n".join("    " + row for row in self.excerpt.splitlines())
        if self.hint:
            text += f"\n    {self.hint}"
        return text


@dataclass(eq=False)
class DrillbookError(Exception):
    """What went wrong, and what to do next (``hint``)."""

    message: str
    hint: str = ""
    exit_code = Exit.INTERNAL

    def __str__(self) -> str:
        return self.message


class UsageError(DrillbookError):
    """The command line asks for something that makes no sense."""

    exit_code = Exit.USAGE


@dataclass(eq=False)
class InvalidFileError(UsageError):
    """A file is wrong. ``problems`` lists everything that is, not just the first thing."""

    problems: Sequence[Problem] = field(default_factory=tuple)

    @classmethod
    def of(cls, path: Path | str, problems: Sequence[Problem]) -> InvalidFileError:
        count = len(problems)
        return cls(f"{path}: {count} problem{'' if count == 1 else 's'}", problems=tuple(problems))


class PreflightError(DrillbookError):
    """Known before anything was touched: nothing selected, a permission missing, another run holds the Lease."""

    exit_code = Exit.PREFLIGHT


class UnsupportedError(PreflightError):
    """The fault cannot be done on this target; the message says why and what would reach it."""


class UnreachableError(PreflightError):
    """The target's API server or endpoint does not answer."""


class RefusedError(DrillbookError):
    """The target refused during the run (403, 409, 422, 429); nothing of the fault is in place."""

    exit_code = Exit.INCONCLUSIVE


class UndoError(DrillbookError):
    """Something that drillbook did may still be there; ``drillbook recover`` tries again."""

    exit_code = Exit.UNDO_FAILED
