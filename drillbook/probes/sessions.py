"""Sessions: how many users of a router that keeps each on one engine felt the blow, how often, and for how long.

Which engine a session is on is not known: answers through vllm-router do not name theirs, and its own count is of
engines. So these are what the users saw; whether a session moved is not said.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from msgspec import UNSET

from drillbook.model.history import Span
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.intervals import wilson
from drillbook.probes.reading import Kind, Probe, Reading
from drillbook.probes.requests import NAMED, UNKNOWN_SHARE
from drillbook.probes.suffering import Patience, first_token, suffering
from drillbook.probes.watched import Figure

FEWEST = 10
"""Sessions below which their share says nothing: one more or less moves it by more than ten points."""


def _by_session(index: Indexed) -> dict[str, list[int]]:
    """Each session's requests in order, as places among all users'."""

    def read() -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for place, request in enumerate(index.users):
            if request.session is not UNSET:
                found.setdefault(str(request.session), []).append(place)
        return found

    return index.once("requests by session", read)


def _unknown(index: Indexed) -> str:
    if index.injected is None:
        return "no fault was injected"
    return "" if _by_session(index) else "no request names a session"


def _asked(index: Indexed, window: Span) -> dict[str, list[int]]:
    """The sessions that sent something after the blow and within the window, with the places of those requests."""
    start = max(window.start, index.injected or window.start)
    first, last = index.within(Span(start, window.end))
    sessions = _by_session(index).items()
    within = {name: each[bisect_left(each, first) : bisect_left(each, last)] for name, each in sessions}
    return {name: places for name, places in within.items() if places}


def _lost(index: Indexed, window: Span) -> dict[str, int]:
    """How many answers each of them lost."""
    return {name: sum(index.bad[place] for place in places) for name, places in _asked(index, window).items()}


def _doubt(index: Indexed, window: Span) -> str:
    """Why some of it may have been missed; empty where not."""
    ends = [index.outcomes[place] for places in _asked(index, window).values() for place in places]
    unknown = ends.count(Outcome.UNKNOWN)
    if not ends:
        return "no session asked for anything then"
    return f"the end of {unknown} of {len(ends)} requests was not seen" if unknown > UNKNOWN_SHARE * len(ends) else ""


def _breaks(index: Indexed, window: Span) -> Reading:
    lost = _lost(index, window)
    total, broken = len(lost), [name for name, count in lost.items() if count]
    doubt = _doubt(index, window)
    if total < FEWEST:
        doubt = doubt or f"only {total} sessions asked for anything, and {FEWEST} are needed"
    return Reading(
        len(broken) / total if total else None,
        samples=total,
        complete=not doubt,
        reason=doubt,
        interval=wilson(len(broken), total) if total else None,
        evidence=tuple(broken[:NAMED]),
    )


def _losses(index: Indexed, window: Span) -> Reading:
    lost = _lost(index, window)
    most, doubt = max(lost.values(), default=0), _doubt(index, window)
    worst = tuple(name for name, count in lost.items() if count and count == most)
    return Reading(
        most if lost else None,
        samples=len(lost),
        complete=not doubt,
        reason=doubt,
        at_least=bool(doubt and lost),
        evidence=worst[:NAMED],
    )


def _outage(index: Indexed, window: Span) -> Reading:
    """The longest of all sessions; the time that its user took to ask again counts."""
    asked, reason = _asked(index, window), _doubt(index, window)
    found: list[tuple[float, str]] = []
    for name, places in asked.items():
        for start, back in _outages(index, name, places):
            found.append((min(back, window.end) - start, name))
            if back > window.end:
                reason = reason or f"{name} was not served again"
    longest, whose = max(found, default=(0.0, ""))
    return Reading(
        longest if asked else None,
        samples=len(asked),
        complete=not reason,
        reason=reason,
        at_least=bool(reason),
        evidence=(whose,) if whose else (),
    )


def _outages(index: Indexed, name: str, places: list[int]) -> Iterator[tuple[float, float]]:
    """From each lost answer among ``places`` to the next first token of the session, monotonic seconds; infinite where
    none came.
    """
    patience = index.once("patience", lambda: Patience.of(index))
    served = sorted(first_token(index.users[place]) for place in _by_session(index)[name] if index.good[place])
    for place in places:
        harm = suffering(index.users[place], index, patience) if index.bad[place] else None
        if harm is not None:
            start = max(harm.start, index.injected or harm.start)
            after = bisect_right(served, start)
            yield start, served[after] if after < len(served) else math.inf


PROBES: tuple[Probe, ...] = (
    Figure(
        "session-breaks",
        "share of the sessions that lost an answer after the blow",
        _breaks,
        _unknown,
        dimension=Dimension.SHARE,
        kind=Kind.WINDOW,
        min_samples=FEWEST,
    ),
    Figure(
        "session-losses",
        "most answers that any one session lost after the blow",
        _losses,
        _unknown,
        dimension=Dimension.COUNT,
    ),
    Figure(
        "session-outage",
        "longest time from a session's lost answer until it was served again",
        _outage,
        _unknown,
    ),
)
NAMES = frozenset(probe.name for probe in PROBES)
