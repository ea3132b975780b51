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


@dataclass(frozen=True)
class Between:
    """The time from one clock to another; not reached yet, it is at least the time that was watched."""

    name: str
    help: str
    start: Callable[[Clocks], Moment]
    end: Callable[[Clocks], Moment]
    dimension: Dimension = Dimension.DURATION
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        found = clocks.read(index)
        start, end = self.start(found), self.end(found)
        if start.at is not None and end.at is not None:
            sources = tuple(source for source in (start.source, end.source) if source)
            return Reading(max(0.0, end.at - start.at), samples=1, evidence=sources)
        if start.at is None:
            return missing(start.why)
        watched = max(0.0, index.relative(index.watched_until) - start.at)
        return Reading(watched, samples=1, complete=False, reason=end.why, at_least=True)


@dataclass(frozen=True)
class GreenWhileBroken:
    """Seconds of the window in which users were failing and every health signal was green."""

    name: str = "green-while-broken"
    help: str = "how long users were failing while every health signal was green"
    dimension: Dimension = Dimension.DURATION
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
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
    Between("time-to-effect", "from the injection to the first harm of a user", lambda c: c.inject, lambda c: c.effect),
    Between("time-to-detect", "from the first harm to the first signal", lambda c: c.effect, lambda c: c.detect),
    Between("time-to-mitigate", "from the first harm to service", lambda c: c.effect, lambda c: c.mitigate),
    Between("time-to-recover", "from the first harm to capacity", lambda c: c.effect, lambda c: c.recover),
    GreenWhileBroken(),
)
