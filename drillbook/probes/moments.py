"""Probes that read the clocks: events that happen or not, and the time that passed between two of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from drillbook.model.history import History, Span
from drillbook.model.judgement import Clocks, Moment
from drillbook.model.request import Outcome
from drillbook.model.units import Dimension
from drillbook.probes import alerts, clocks, signals
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading, missing
from drillbook.probes.suffering import HOLD_SECONDS, RUN_LENGTH, outages
from drillbook.probes.watched import Figure, lag


@dataclass(frozen=True)
class Event:
    """A clock as an event: its reading's value is the monotonic moment.

    Where nothing was lost, ``mitigated`` and ``recovered`` happened at once, if enough users were served since the
    injection to know it.
    """

    name: str
    help: str
    clock: Callable[[Clocks], Moment]
    dimension: Dimension | None = None
    kind: Kind = Kind.EVENT
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if index.injected is None:
            return missing("no fault was injected")
        moment = self.clock(clocks.read(index))
        if moment.at is not None:
            return Reading(moment.at + index.origin, samples=1, evidence=(moment.source,) if moment.source else ())
        if self.name == "detected":
            seen = Span(index.injected, index.watched_until)
            blind = alerts.unseen(index, seen) if alerts.watched(index) else ""
            return Reading(None, complete=signals.has_signals(index) and not blind, reason=blind or moment.why)
        outage = clocks.turning_point(index)
        lost = clocks.capacity_lost(index) if self.name == "recovered" else None
        if outage is None and lost is None:
            return self._unharmed(index, index.injected)
        for_good = lost is not None and lost.end == float("inf")  # known: the capacity never came back
        unproven = outage is not None and outage.back is not None and not for_good
        return Reading(None, complete=not unproven, reason=moment.why)

    def _unharmed(self, index: Indexed, injected: float) -> Reading:
        since = Span(injected, index.watched_until)
        first, last = index.within(since)
        served = index.count("good", lambda: index.good, since)
        unknown = index.count_outcome(Outcome.UNKNOWN, since)
        if served < RUN_LENGTH or served < index.threshold * (last - first) or since.length < HOLD_SECONDS:
            return missing(f"only {served} requests were served since the injection ({unknown} were still under way)")
        return Reading(injected, samples=served, reason="nothing was lost")


def _between(name: str, text: str, start: Callable[[Clocks], Moment], end: Callable[[Clocks], Moment]) -> Figure:
    """The time from one clock to another."""

    def read(index: Indexed, _: Span) -> Reading:
        found = clocks.read(index)
        first, last = start(found), end(found)
        if first.at is None:
            return missing(first.why)
        sources = tuple(source for source in (first.source, last.source) if source)
        return lag(first.at, last.at, index.relative(index.watched_until), why=last.why, evidence=sources)

    return Figure(name, text, read)


def _green_while_broken(index: Indexed, window: Span) -> Reading:
    if not signals.has_signals(index):
        return missing("no health signal was watched")
    if not index.users:
        return missing("no request was sent")
    broken = [Span(outage.start, outage.end) for outage in outages(index)]
    both = signals.overlap(signals.overlap(broken, signals.green(index)), [window])
    return Reading(sum(span.length for span in both), samples=len(broken))


PROBES: tuple[Probe, ...] = (
    Event("recovered", "users are served again, and every desired engine is ready", lambda c: c.recover),
    Event("mitigated", "users are served within the steady state again", lambda c: c.mitigate),
    Event("detected", "a health signal, an alert or a custom probe turned", lambda c: c.detect),
    _between(
        "time-to-effect", "from the injection to the first harm of a user", lambda c: c.inject, lambda c: c.effect
    ),
    _between("time-to-detect", "from the first harm to the first signal", lambda c: c.effect, lambda c: c.detect),
    _between("time-to-mitigate", "from the first harm to service", lambda c: c.effect, lambda c: c.mitigate),
    _between("time-to-recover", "from the first harm to capacity", lambda c: c.effect, lambda c: c.recover),
    Figure(
        "green-while-broken", "how long users were failing while every health signal was green", _green_while_broken
    ),
)
