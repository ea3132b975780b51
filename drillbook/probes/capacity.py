"""How many engines there were and how many there should be, as steps over time, read off the watched objects."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from drillbook.model.events import ObjectChanged
from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading, missing

ENGINE_ROLES = frozenset({"engine", "prefill", "decode", "worker", "leader"})
"""Roles whose pods make tokens."""


@dataclass
class Steps:
    """A step function of time: each value holds until the next. Unknown (None) before the first."""

    times: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def set(self, moment: float, value: float) -> None:
        """Add the newest step; one that changes nothing is left out."""
        if self.values and self.values[-1] == value:
            return
        if self.times and self.times[-1] == moment:
            self.values[-1] = value
            return
        self.times.append(moment)
        self.values.append(value)

    def at(self, moment: float) -> float | None:
        place = bisect_right(self.times, moment)
        return self.values[place - 1] if place else None

    def changes(self, window: Span) -> list[float]:
        """The moments inside the window at which the value changed."""
        return self.times[bisect_right(self.times, window.start) : bisect_left(self.times, window.end)]

    def within(self, window: Span) -> list[float]:
        """All values that held at some moment of the window."""
        first = max(0, bisect_right(self.times, window.start) - 1)
        return self.values[first : bisect_left(self.times, window.end)]


def is_leaving(event: ObjectChanged) -> bool:
    """A pod that is gone or going."""
    return event.change == "deleted" or bool(event.summary.get("deleting"))


def is_ready(event: ObjectChanged) -> bool:
    """A pod that serves: Ready, and neither gone nor going."""
    return bool(event.summary.get("ready")) and not is_leaving(event)


def role_pods(history: History, roles: frozenset[str]) -> Iterator[tuple[float, ObjectChanged]]:
    """All changes of pods of these roles."""
    for line, event in history.events(ObjectChanged):
        if event.kind == "Pod" and event.role in roles:
            yield line.mono, event


def engine_pods(history: History) -> Iterator[tuple[float, ObjectChanged]]:
    """All changes of pods that make tokens."""
    return role_pods(history, ENGINE_ROLES)


def ready_engines(history: History) -> Steps:
    """Engine pods that are Ready and not being deleted."""
    ready: set[str] = set()
    steps = Steps()
    for moment, event in engine_pods(history):
        (ready.add if is_ready(event) else ready.discard)(event.uid)
        steps.set(moment, len(ready))
    return steps


def desired(history: History, roles: frozenset[str]) -> Steps:
    """What the workloads of these roles ask for; empty where none was seen."""
    wanted: dict[str, float] = {}
    steps = Steps()
    for line, event in history.events(ObjectChanged):
        if event.kind in ("Deployment", "StatefulSet", "LeaderWorkerSet", "Rollout") and event.role in roles:
            if event.change == "deleted":
                wanted.pop(event.uid, None)
            elif event.summary.get("desired") is not None:
                wanted[event.uid] = float(event.summary["desired"])
            steps.set(line.mono, sum(wanted.values()))
    return steps


def desired_engines(history: History) -> Steps:
    """What the engines' Deployments ask for; where none was seen, the most engines that were ever ready before time
    zero: what the target itself held for right.
    """
    steps = desired(history, ENGINE_ROLES)
    if steps.times:
        return steps
    ready = ready_engines(history)
    if ready.times:
        steps.set(ready.times[0], max(ready.within(Span(ready.times[0], max(history.zero, ready.times[0]) + 1e-9))))
    return steps


def missing_engines(history: History) -> Steps:
    """How many engines fewer were ready than desired."""
    ready, desired = ready_engines(history), desired_engines(history)
    steps = Steps()
    for moment in sorted({*ready.times, *desired.times}):
        have, want = ready.at(moment), desired.at(moment)
        if have is not None and want is not None:
            steps.set(moment, max(0.0, want - have))
    return steps


def short_of_capacity(history: History) -> Steps:
    """1 while fewer engines were ready than desired, else 0."""
    lacking, steps = missing_engines(history), Steps()
    for moment, count in zip(lacking.times, lacking.values, strict=True):
        steps.set(moment, float(count > 0))
    return steps


@dataclass(frozen=True)
class Level:
    """A level read off the watched objects: its last value in the window, with the lowest and the highest."""

    name: str
    help: str
    dimension: Dimension = Dimension.COUNT
    kind: Kind = Kind.LEVEL
    min_samples: int = 1

    def steps(self, history: History) -> Steps:
        index = Indexed.of(history)
        return index.once(self.name, lambda: STEPS[self.name](index))

    def changes(self, history: History, window: Span) -> list[float]:
        return self.steps(history).changes(window)

    def read(self, history: History, window: Span) -> Reading:
        steps = self.steps(history)
        values = steps.within(window)
        if not values:
            return missing("no engine pod was watched")
        first = steps.at(window.start)
        reason = "" if first is not None else "engines were watched only from the middle of the window"
        return Reading(
            values[-1], samples=len(values), complete=not reason, reason=reason, low=min(values), high=max(values)
        )


@dataclass(frozen=True)
class Restarts:
    """How often containers of engine pods were started anew within the window."""

    name: str = "restarts"
    help: str = "container restarts of engine pods"
    dimension: Dimension = Dimension.COUNT
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        before: dict[str, int] = {}
        grown: dict[str, int] = {}
        for moment, event in engine_pods(history):
            count = int(event.summary.get("restarts") or 0)
            if moment in window and event.change != "deleted":
                # a pod that first appears here had no restarts before; one of the first list brought its own
                base = before.setdefault(event.uid, count if event.change == "present" else 0)
                if count > base:
                    grown[event.name] = grown.get(event.name, 0) + count - base
            if moment < window.end:
                before[event.uid] = max(count, before.get(event.uid, 0))
        if not before:
            return missing("no engine pod was watched")
        return Reading(sum(grown.values()), samples=len(before), evidence=tuple(sorted(grown)))


STEPS = {"ready-engines": ready_engines, "desired-engines": desired_engines, "missing-engines": missing_engines}

PROBES: tuple[Probe, ...] = (
    Level("ready-engines", "engine pods that are Ready and not being deleted"),
    Level("desired-engines", "engine pods that the Deployments ask for"),
    Level("missing-engines", "how many engine pods fewer are Ready than desired"),
    Restarts(),
)
