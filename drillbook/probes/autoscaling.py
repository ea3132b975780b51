"""Autoscaling, read off what was watched: when it moved, how far, how long each step took, and why it did not.

Replicas are those that the engines' workload asks for, whoever wrote them: an HPA, KEDA, or a person. What the
autoscaler itself says (metrics, conditions) comes from its own object.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from drillbook.model.events import ObjectChanged
from drillbook.model.history import History, Span
from drillbook.model.judgement import RecoveryPart
from drillbook.model.units import Dimension
from drillbook.probes import clocks, recovery
from drillbook.probes.capacity import ENGINE_ROLES, Level, Steps, desired_engines, engine_pods, is_ready
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Probe, Reading, missing
from drillbook.probes.watched import Figure, Happened, lag

AUTOSCALER = "HorizontalPodAutoscaler"
TOLERANCE = 1.1
"""A metric has moved once it is this many times its target: within it an HPA does nothing (its default tolerance)."""


@dataclass(frozen=True)
class Look:
    """What an autoscaler said of itself at one moment."""

    moment: float
    summary: dict[str, Any]

    @property
    def pressure(self) -> float | None:
        """The most demanding metric as a multiple of its target; None where none could be read."""
        ratios = [
            row["current"] / row["target"]
            for row in (self.summary.get("metrics") or {}).values()
            if row.get("current") is not None and row.get("target")
        ]
        return max(ratios, default=None)


def looks(index: Indexed) -> list[Look]:
    """What the engines' autoscaler said, in order; of all autoscalers where none is known to be theirs."""
    theirs = {
        f"{event.kind.lower()}/{event.name}"
        for _, event in index.events(ObjectChanged)
        if event.kind in ("Deployment", "StatefulSet", "LeaderWorkerSet") and event.role in ENGINE_ROLES
    }
    every = [(line.mono, event) for line, event in index.events(ObjectChanged) if event.kind == AUTOSCALER]
    known = [(at, event) for at, event in every if event.summary.get("target") in theirs]
    return [Look(at, event.summary) for at, event in known or every if event.change != "deleted"]


def raised(index: Indexed) -> float | None:
    """When more engines were first asked for than at the injection, monotonic seconds."""
    return _turn(index, lambda before, now: now > before)


def _turn(index: Indexed, turned: Callable[[float, float], bool], since: float | None = None) -> float | None:
    start = since if since is not None else index.injected
    steps = desired_engines(index)
    before = steps.at(start) if start is not None else None
    if start is None or before is None:
        return None
    return next((t for t, n in zip(steps.times, steps.values, strict=True) if t > start and turned(before, n)), None)


def peak(index: Indexed, window: Span) -> tuple[float, float] | None:
    """When the most engines were asked for within the window, and how many."""
    steps = desired_engines(index)
    rows = [(t, n) for t, n in zip(steps.times, steps.values, strict=True) if t in window]
    return max(rows, key=lambda row: (row[1], -row[0]), default=None)


def lowered(index: Indexed) -> float | None:
    """When fewer engines were asked for than at the peak that followed the injection."""
    if index.injected is None or raised(index) is None:
        return None
    top = peak(index, Span(index.injected, math.inf))
    return None if top is None else _turn(index, lambda before, now: now < before, since=top[0])


def newcomer(index: Indexed) -> recovery.Pod | None:
    """The first engine pod that came after more were asked for."""
    since = raised(index)
    born = [] if since is None else [p for p in recovery.pods(index) if recovery.is_new(p) and p.born >= since - 1]
    return min(born, key=lambda pod: pod.born, default=None)


def legs(index: Indexed) -> tuple[RecoveryPart, ...]:
    """From the step of the load to users served by one more engine, seconds after time zero; empty where nothing
    scales the engines. A leg that did not end has no end, and none follows it.
    """
    if index.injected is None or not looks(index):
        return ()
    pod = newcomer(index)
    up = pod.first(pod.born, lambda event: recovery.is_running(event, 0, replaced=True)) if pod else None
    ready = pod.first(up, is_ready) if pod and up is not None else None
    moved = next((each.moment for each in _since(index) if (each.pressure or 0.0) > TOLERANCE), None)
    found_clocks = clocks.read(index)
    harmed, mitigated = found_clocks.effect.at, found_clocks.mitigate.at
    # A harm that came once the engine was ready is another story, and nobody waits for the SLO who never lost it.
    waited = harmed is not None and (ready is None or harmed + index.origin <= ready)
    seen = {
        "metric moved": moved,
        "desired raised": raised(index),
        "pod scheduled": pod.first(pod.born, lambda event: bool(event.summary.get("node"))) if pod else None,
        "process up": up,
        "model loaded": recovery.answers_from(index, pod.name, up) if pod else None,
        "ready": ready,
        "first token": recovery.first_token_of(index, pod.name, ready) if pod else None,
        **({"SLO": None if mitigated is None else mitigated + index.origin} if waited else {}),
    }
    found, start = [], index.injected
    for name, moment in seen.items():
        end = None if moment is None else max(moment, start)
        told = index.relative(end) if end is not None else None
        found.append(RecoveryPart(name=name, start=index.relative(start), end=told, pod=pod.name if pod else ""))
        if end is None and name != "metric moved":  # a gauge may be read between two of its own moves
            break
        start = start if end is None else end
    return tuple(found)


def _since(index: Indexed) -> list[Look]:
    return [each for each in looks(index) if index.injected is not None and each.moment >= index.injected]


def cause(index: Indexed) -> str:
    """Why there are not more engines, as far as the autoscaler, the scheduler and the quota say; empty where nobody
    complains.
    """
    return "; ".join(dict.fromkeys(_causes(index)))


def _causes(index: Indexed) -> Iterator[str]:
    seen = _since(index)
    blind = next((each.summary for each in seen if not each.summary.get("active", True)), None)
    if blind:
        yield f"it cannot read its metrics ({blind.get('reason') or 'ScalingActive is False'}: {blind.get('message')})"
    for line, event in index.events(ObjectChanged):
        if event.kind == "Event" and index.injected is not None and line.mono >= index.injected:
            reason, message = str(event.summary.get("reason")), str(event.summary.get("message"))
            if reason == "FailedScheduling":
                yield f"a pod is Pending: {message}"
            elif reason == "FailedCreate" and "quota" in message:
                yield f"a quota is used up: {message}"
    if not seen:
        yield "it said nothing since the injection" if looks(index) else "no autoscaler was watched"
        return
    last = seen[-1].summary
    if last.get("max") is not None and last.get("desired") == last["max"] and last.get("limited"):
        yield f"it is at its maximum of {last['max']}"
    pressures = [each.pressure for each in seen if each.pressure is not None]
    if pressures and max(pressures) <= TOLERANCE:
        yield f"its metric never rose above its target (at most {max(pressures):.2g} times of it)"
    if not blind and not pressures:
        yield "its metric has no value"


def _unknown(index: Indexed) -> str:
    if index.injected is None:
        return "no fault was injected"
    return "" if desired_engines(index).times else "no workload of engines was watched"


def _scale_up_lag(index: Indexed, _: Span) -> Reading:
    pod, start = newcomer(index), index.injected
    assert start is not None
    ready = pod.first(pod.born, is_ready) if pod else None
    names = (pod.name,) if pod else ()
    return lag(start, ready, index.watched_until, why=cause(index) or "not seen", evidence=names)


def _total(of: Callable[[Steps, Span], float]) -> Callable[[Indexed, Span], Reading]:
    """A figure of the replicas that were asked for."""

    def read(index: Indexed, window: Span) -> Reading:
        steps = desired_engines(index)
        if steps.at(window.start) is None:
            return missing("no workload of engines was watched")
        return Reading(of(steps, window), samples=len(steps.within(window)))

    return read


def overshoot(steps: Steps, window: Span) -> float:
    """How many more engines were asked for at the most than at the end of the window."""
    values = steps.within(window)
    return max(values) - values[-1]


def flaps(steps: Steps, window: Span) -> float:
    """How often the replicas turned round: up after down, or down after up."""
    signs = [later > earlier for earlier, later in pairwise(steps.within(window)) if later != earlier]
    return float(sum(before != after for before, after in pairwise(signs)))


def _spent(state: Callable[[dict[str, Any]], bool]) -> Callable[[Indexed, Span], Reading]:
    """Seconds of the window in which the autoscaler was in a state."""

    def read(index: Indexed, window: Span) -> Reading:
        seen = looks(index)
        if not seen or seen[0].moment > window.start:
            return missing("no autoscaler was watched")
        ends = [*(each.moment for each in seen[1:]), max(window.end, seen[-1].moment)]
        spans = [(max(a.moment, window.start), min(b, window.end), a) for a, b in zip(seen, ends, strict=True)]
        total = sum(max(0.0, end - start) for start, end, each in spans if state(each.summary))
        return Reading(total, samples=len(seen), reason=cause(index) if total else "")

    return read


@dataclass(frozen=True)
class Pending(Level):
    """Engine pods that no node has taken."""

    name: str = "pending-engines"
    help: str = "engine pods that no node has taken: no GPU is free, or a quota is used up"

    def steps(self, history: History) -> Steps:
        index = Indexed.of(history)
        return index.once(self.name, lambda: _pending(index))


def _pending(history: History) -> Steps:
    waiting: set[str] = set()
    steps = Steps()
    for moment, event in engine_pods(history):
        lost = event.change == "deleted" or bool(event.summary.get("node")) or event.summary.get("phase") != "Pending"
        (waiting.discard if lost else waiting.add)(event.uid)
        steps.set(moment, len(waiting))
    return steps


PROBES: tuple[Probe, ...] = (
    Happened("scaled-up", "more engines are asked for than at the injection", raised, _unknown, cause),
    Happened(
        "scaled-down", "fewer engines are asked for than at the peak after the injection", lowered, _unknown, cause
    ),
    Figure("scale-up-lag", "from the injection to the first additional engine that is Ready", _scale_up_lag, _unknown),
    Figure(
        "overshoot",
        "how many more engines were asked for at the most than at the window's end",
        _total(overshoot),
        dimension=Dimension.COUNT,
    ),
    Figure(
        "flapping",
        "how often the replicas asked for turned round, up after down or down after up",
        _total(flaps),
        dimension=Dimension.COUNT,
    ),
    Figure(
        "time-at-max",
        "how long the autoscaler asked for its maximum",
        _spent(lambda said: said.get("max") is not None and said.get("desired") == said.get("max")),
    ),
    Figure(
        "autoscaler-blind",
        "how long the autoscaler could not read its metrics",
        _spent(lambda said: not said.get("active", True)),
    ),
    Pending(),
)
