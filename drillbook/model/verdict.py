"""How a run ends: its status, its verdict, its exit code. The three are kept apart on purpose.

The status says what became of the *run*; the verdict says what was learnt about the *target*; the exit code is what a
shell sees of both, with a failed undo above everything.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from drillbook.errors import Exit


class Verdict(enum.StrEnum):
    """``held`` < ``inconclusive`` < ``refuted``; the worst wins."""

    HELD = "held"
    INCONCLUSIVE = "inconclusive"
    REFUTED = "refuted"

    @property
    def badness(self) -> int:
        return list(Verdict).index(self)

    @classmethod
    def worst(cls, verdicts: Iterable[Verdict]) -> Verdict:
        """The worst of them. No verdict at all is ``inconclusive``: nothing passes vacuously."""
        found = list(verdicts)
        return max(found, key=lambda verdict: verdict.badness) if found else cls.INCONCLUSIVE


class RunStatus(enum.StrEnum):
    """What became of the run itself, whatever it found."""

    COMPLETED = "completed"
    ABORTED = "aborted"
    """An abort condition tripped."""
    INTERRUPTED = "interrupted"
    """Ctrl-C or SIGTERM; undo ran."""
    CRASHED = "crashed"
    """The runner died or met a bug; also what a journal without an end reads as."""


class UndoState(enum.StrEnum):
    """What became of everything that drillbook changed."""

    NOTHING = "nothing-to-undo"
    CLEAN = "clean"
    """Undone and verified, or superseded by someone else's later change."""
    REMAINS = "remains"
    """Something may still be in place: exit code 5, and ``drillbook recover``."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One expectation, judged. ``value`` and ``limit`` are in the base unit of the probe (seconds, shares, counts)."""

    expectation: str
    role: str
    """Which part of the experiment asked: ``steady-state``, ``bite``, ``expect``, ``abort-when`` or ``validity``."""
    verdict: Verdict
    reason: str
    """One sentence: what was measured against what, or why it cannot be said."""
    value: float | None = None
    limit: float | None = None
    dimension: str = ""
    samples: int | None = None
    window: tuple[float, float] | None = None
    """Seconds relative to time zero (the end of the baseline)."""
    interval: tuple[float, float] | None = None
    """95 % interval of ``value`` where it is a rate."""
    evidence: tuple[str, ...] = ()
    """Where to look: journal lines (``journal.jsonl:12``), request ids, pods."""


def exit_code(status: RunStatus, verdict: Verdict, undo: UndoState) -> Exit:
    """What the shell sees of a finished run; a failed undo overrides all else."""
    if undo is UndoState.REMAINS:
        return Exit.UNDO_FAILED
    if status is RunStatus.INTERRUPTED:
        return Exit.INTERRUPTED
    if status is RunStatus.CRASHED:
        return Exit.INTERNAL
    return {Verdict.HELD: Exit.HELD, Verdict.INCONCLUSIVE: Exit.INCONCLUSIVE, Verdict.REFUTED: Exit.REFUTED}[verdict]
