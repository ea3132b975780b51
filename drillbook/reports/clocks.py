"""The clocks of a run with their meaning and resolution, and the intervals that incident reviews are counted in."""

from __future__ import annotations

import msgspec

from drillbook.model.history import History
from drillbook.model.judgement import Clocks, Moment, RecoveryPart, between
from drillbook.reports.header import utc


class Clock(msgspec.Struct, frozen=True, kw_only=True):
    """One moment; ``at`` and ``resolution`` are seconds, ``at`` after time zero."""

    name: str
    meaning: str
    at: float | None
    resolution: float
    utc: str
    source: str
    why: str


class Elapsed(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds from one clock to another. ``resolution``: the true value may differ by up to this much."""

    name: str
    meaning: str
    seconds: float | None
    resolution: float
    why: str


class ClockFacts(msgspec.Struct, frozen=True, kw_only=True):
    moments: tuple[Clock, ...]
    elapsed: tuple[Elapsed, ...]
    recovery: tuple[RecoveryPart, ...]
    broken: tuple[tuple[float, float], ...]
    green_while_broken: tuple[tuple[float, float], ...]
    broken_seconds: float
    green_while_broken_seconds: float
    unnoticed_share: float | None
    """Detection gap: the share of the users' harm that passed before the first signal. None where nobody was harmed."""


_MEANING = {
    "inject": "the fault was put in place",
    "effect": "first harm that a user could see",
    "detect": "first alert, probe or health signal that turned",
    "acknowledge": "a person took it on",
    "mitigate": "users are served within the steady state again",
    "recover": "and every desired replica is ready",
    "revert": "the last undo was verified",
}
_ELAPSED = (
    ("TTD", "time to detect", "effect", "detect"),
    ("TTA", "time to acknowledge", "detect", "acknowledge"),
    ("TTM", "time to mitigate", "effect", "mitigate"),
    ("TTR", "time to recover", "effect", "recover"),
)


def clock_facts(history: History, clocks: Clocks) -> ClockFacts:
    moments: dict[str, Moment] = {name: getattr(clocks, name) for name in _MEANING}
    offset = history.lines[0].wall - history.lines[0].mono + history.zero if history.lines else 0.0
    return ClockFacts(
        moments=tuple(
            Clock(
                name=name,
                meaning=_MEANING[name],
                at=moment.at,
                resolution=moment.resolution,
                utc=utc(offset + moment.at) if moment.at is not None else "",
                source=moment.source,
                why=moment.why,
            )
            for name, moment in moments.items()
        ),
        elapsed=tuple(_elapsed(name, meaning, moments[a], moments[b]) for name, meaning, a, b in _ELAPSED),
        recovery=clocks.recovery,
        broken=clocks.broken,
        green_while_broken=clocks.green_while_broken,
        broken_seconds=total(clocks.broken),
        green_while_broken_seconds=total(clocks.green_while_broken),
        unnoticed_share=_unnoticed(clocks),
    )


def total(spans: tuple[tuple[float, float], ...]) -> float:
    """Seconds in all spans together."""
    return sum(end - start for start, end in spans)


def overlap(spans: tuple[tuple[float, float], ...], start: float, end: float) -> float:
    """Seconds of the spans that lie between ``start`` and ``end``."""
    return sum(max(0.0, min(end, late) - max(start, early)) for early, late in spans)


def _elapsed(name: str, meaning: str, start: Moment, end: Moment) -> Elapsed:
    missing = next((moment for moment in (start, end) if moment.at is None), None)
    return Elapsed(
        name=name,
        meaning=meaning,
        seconds=between(start, end),
        resolution=start.resolution + end.resolution,
        why=f"no {missing.name}: {missing.why or 'never seen'}" if missing else "",
    )


def _unnoticed(clocks: Clocks) -> float | None:
    harmed = total(clocks.broken)
    if not harmed:
        return None
    if clocks.detect.at is None:
        return 1.0
    return overlap(clocks.broken, float("-inf"), clocks.detect.at) / harmed
