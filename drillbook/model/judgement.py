"""What the checks and the clocks make of a history: the input of every report, computed from the journal alone."""

from __future__ import annotations

import msgspec

from drillbook.errors import Exit
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict, exit_code


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """One clock. ``at`` is in seconds after time zero; None: it never happened or cannot be known (``why``)."""

    name: str
    at: float | None
    resolution: float = 0.0
    """The true moment lies within this many seconds before ``at`` (poll interval, time between requests)."""
    source: str = ""
    """What it was read off: a request's id, a Kubernetes change, a probe."""
    why: str = ""


class RecoveryPart(msgspec.Struct, frozen=True, kw_only=True):
    """One leg of the recovery, seconds after time zero; legs follow one another without gaps or overlaps."""

    name: str
    """``endpoint removed``, ``pod scheduled``, ``process up``, ``model loaded``, ``ready``, ``first token``, ``SLO``.
    """
    start: float
    end: float | None
    pod: str = ""


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """The clocks of a run. Intervals are seconds after time zero."""

    inject: Moment
    effect: Moment
    """First harm that a user could see."""
    detect: Moment
    """First alert, or first probe or health signal that turned."""
    mitigate: Moment
    """Users are served within the steady state again."""
    recover: Moment
    """... and the capacity is back: every desired replica is ready."""
    revert: Moment
    """The last undo was verified."""
    acknowledge: Moment
    recovery: tuple[RecoveryPart, ...] = ()
    broken: tuple[tuple[float, float], ...] = ()
    """When users were failing."""
    green_while_broken: tuple[tuple[float, float], ...] = ()
    """When they were, and every health signal was green."""

    @property
    def time_to_detect(self) -> float | None:
        return between(self.effect, self.detect)

    @property
    def time_to_mitigate(self) -> float | None:
        return between(self.effect, self.mitigate)

    @property
    def time_to_recover(self) -> float | None:
        return between(self.effect, self.recover)


def between(start: Moment, end: Moment) -> float | None:
    """Seconds from one clock to another; None where either is not known."""
    return None if start.at is None or end.at is None else end.at - start.at


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A run, judged from its journal alone: judging it again gives the same."""

    status: RunStatus
    undo: UndoState
    verdict: Verdict
    reason: str
    """One sentence: why this verdict."""
    findings: tuple[Finding, ...]
    clocks: Clocks

    @property
    def exit_code(self) -> Exit:
        return exit_code(self.status, self.verdict, self.undo)
