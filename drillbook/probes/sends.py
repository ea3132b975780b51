"""Which engine a router sent how many requests to, and when: read off its own counters, look by look.

A growth lies somewhere between two looks, half a second apart. Where a fault or its undo falls between them, the growth
may be of before: it is left out, in favour of the target.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from drillbook.model.events import Observed
from drillbook.model.history import Span
from drillbook.probes.capacity import engine_pods
from drillbook.probes.index import Indexed
from drillbook.probes.names import SENT

GAP = 3.0
"""Seconds without a look after which what a router did meanwhile is not known."""


@dataclass(frozen=True)
class Send:
    """``count`` requests that were sent to ``pod`` after ``since`` and no later than ``until``, monotonic seconds."""

    since: float
    until: float
    pod: str
    """Empty where no engine pod that was watched has that address."""
    count: int


def sends(index: Indexed) -> list[Send]:
    """Every growth of every router's count, in the order in which it was seen."""
    return index.once("sends", lambda: sorted(_sends(index), key=lambda send: send.until))


def _sends(index: Indexed) -> Iterator[Send]:
    names = _Names(index)
    for looks in _by_router(index).values():
        good = [(moment, _counts(event)) for moment, event in looks if event.value is not None]
        for (since, before), (until, now) in itertools.pairwise(good):
            for address, count in now.items():
                had = before.get(address, 0)
                grown = count - had if count >= had else count  # a router that began anew counts from nothing
                if grown:
                    yield Send(since, until, names.at(address, until), grown)


def _by_router(index: Indexed) -> dict[str, list[tuple[float, Observed]]]:
    found: dict[str, list[tuple[float, Observed]]] = {}
    for moment, event in index.observed.get(SENT, ()):
        found.setdefault(event.labels.get("router", ""), []).append((moment, event))
    return found


def _counts(event: Observed) -> dict[str, int]:
    return {name: int(value) for name, value in event.labels.items() if name != "router"}


class _Names:
    """Which pod had an address when: addresses are given anew."""

    def __init__(self, index: Indexed) -> None:
        self._found: dict[str, list[tuple[float, str]]] = {}
        for moment, event in engine_pods(index):
            address = str(event.summary.get("ip") or "")
            rows = self._found.setdefault(address, [])
            if address and event.change != "deleted" and (not rows or rows[-1][1] != event.name):
                rows.append((moment, event.name))

    def at(self, address: str, moment: float) -> str:
        rows = self._found.get(address, [])
        place = bisect_right([since for since, _ in rows], moment)
        return rows[place - 1][1] if place else ""


def unseen(index: Indexed, window: Span) -> str:
    """Why it is not known all along the window what the routers sent where; empty where it is."""
    routers = _by_router(index)
    if not routers:
        return "no router was asked where it sends requests"
    looked: list[float] = []
    for name, looks in routers.items():
        good = [moment for moment, event in looks if event.value is not None]
        if not good:
            return f"router {name} told nothing: {looks[-1][1].error or 'it gave no figure'}"
        last = looks[-1][0]  # one that is gone is not asked any more, and sends nothing
        if why := _silence([*good, *([last] if looks[-1][1].value is None else [])], window, name):
            return why
        looked += good
    edges = [window.start, *sorted(moment for moment in looked if moment in window), window.end]
    return _silence(edges, window, "every router")


def _silence(moments: list[float], window: Span, name: str) -> str:
    for early, late in itertools.pairwise(moments):
        if late - early > GAP and early < window.end and late > window.start:
            return f"{name} told nothing for {late - early:.1f}s"
    return ""
