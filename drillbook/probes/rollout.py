"""Rollouts, read off what was watched: when a new revision came, what it was given, whether the target took it back.

A rollback is the target's own: whatever comes after drillbook began to undo the rollout is not counted. Revisions are
told apart by the pods' template hashes, and templates by their fingerprints; Argo Rollouts and Flagger also say it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from drillbook.model.events import AlertChanged, AlertState, FaultChanged, FaultState, ObjectChanged
from drillbook.model.history import History, Span
from drillbook.model.units import Dimension
from drillbook.probes import recovery
from drillbook.probes.capacity import ENGINE_ROLES, Steps, desired_engines, engine_pods, is_ready
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Probe, Reading, missing

FAULT = "bad-rollout"
WORKLOADS = ("Deployment", "StatefulSet", "Rollout")
ANALYSES = ("AnalysisRun", "Canary")


@dataclass(frozen=True)
class Signal:
    """Something that can make a target take a revision back."""

    moment: float
    name: str
    """``analysis``, ``progress deadline`` or ``alert``."""
    detail: str


def until(index: Indexed) -> float:
    """The end of what the target does by itself: where drillbook begins to undo a rollout of its own."""
    plan = index.plan
    ours = {fault.id for fault in plan.faults if fault.fault == FAULT} if plan else set()
    moments = (line.mono for line, e in index.events(FaultChanged) if e.state is FaultState.UNDOING and e.id in ours)
    return min([*moments, index.watched_until])


def old_revisions(index: Indexed) -> set[str]:
    """What the engines ran at the injection."""
    start, last = index.injected, dict[str, tuple[str, bool]]()
    for moment, event in engine_pods(index):
        if start is not None and moment <= start:
            last[event.uid] = str(event.summary.get("revision") or ""), is_ready(event)
    return {revision for revision, ready in last.values() if ready and revision}


def newcomers(index: Indexed) -> list[recovery.Pod]:
    """Engine pods of a revision that did not run at the injection, in the order in which they came."""
    old, start = old_revisions(index), index.injected
    found = [] if start is None or not old else [pod for pod in recovery.pods(index) if pod.born >= start]
    return sorted((pod for pod in found if revision_of(pod) not in {"", *old}), key=lambda pod: pod.born)


def revision_of(pod: recovery.Pod) -> str:
    return next((str(event.summary["revision"]) for _, event in pod.changes if event.summary.get("revision")), "")


def began(index: Indexed) -> float | None:
    """When another template was first asked for, or a pod of a new revision seen."""
    moments = [pod.born for pod in newcomers(index)[:1]]
    if index.injected is not None:
        for was, turned, template in _templates(index):
            if index.injected <= turned <= until(index) and was != template:
                moments.append(turned)
                break
    return min(moments, default=None)


def _templates(index: Indexed) -> Iterator[tuple[str, float, str]]:
    """Each template that an engines' workload asked for after its first: that first one, when, and which."""
    first: dict[str, str] = {}
    for line, event in index.events(ObjectChanged):
        template = str(event.summary.get("template") or "")
        if event.kind in WORKLOADS and event.role in ENGINE_ROLES and event.change != "deleted" and template:
            if index.injected is None or line.mono <= index.injected or event.uid not in first:
                first[event.uid] = template
            yield first[event.uid], line.mono, template


def rollbacks(index: Indexed) -> list[Signal]:
    """Each time the target took a revision back, with how it said so."""
    start = began(index)
    if start is None:
        return []
    found, away = [], False
    for was, moment, template in _templates(index):
        if moment > start and away and was == template:
            found.append(Signal(moment, "template", "the former template is asked for again"))
        away = was != template
    said: dict[str, bool] = {}
    for line, event in index.events(ObjectChanged):
        aborted = bool(event.summary.get("aborted")) or (
            event.kind == "Canary" and event.summary.get("phase") == "Failed"
        )
        if event.kind in (*WORKLOADS, "Canary") and aborted and not said.get(event.uid) and line.mono >= start:
            found.append(Signal(line.mono, "abort", str(event.summary.get("message") or "")))
        said[event.uid] = aborted
    return sorted((each for each in found if each.moment < until(index)), key=lambda each: each.moment)


def rolled_back(index: Indexed) -> float | None:
    return next((each.moment for each in rollbacks(index)), None)


def signals(index: Indexed) -> list[Signal]:
    """What spoke against the new revision, from its beginning to its end, in order."""
    start, back = began(index), rolled_back(index)
    end = until(index) if back is None else min(back + _APART, until(index))
    whole = promoted(index)  # an alert after that is about something else: there is nothing to compare with
    found = [] if start is None else [each for each in _signals(index) if start <= each.moment < end]
    mine = [each for each in found if each.name != "alert" or whole is None or each.moment < whole]
    return sorted(mine, key=lambda each: each.moment)


def _signals(index: Indexed) -> Iterator[Signal]:
    said: set[tuple[str, str]] = set()
    for line, event in index.events(ObjectChanged):
        summary = event.summary
        if event.kind in ANALYSES and summary.get("phase") in ("Failed", "Error"):
            name, detail = "analysis", f"{event.kind} {event.name}: {summary.get('message') or summary['phase']}"
        elif event.kind in WORKLOADS and event.role in ENGINE_ROLES and summary.get("late"):
            name, detail = "progress deadline", f"{event.kind} {event.name}: ProgressDeadlineExceeded"
        else:
            said.discard((event.uid, "progress deadline"))
            continue
        if (event.uid, name) not in said:
            said.add((event.uid, name))
            yield Signal(line.mono, name, detail)
    for line, alert in index.events(AlertChanged):
        if alert.state is AlertState.FIRING and alert.source == "prometheus":
            yield Signal(line.mono, "alert", alert.name)


def trigger(index: Indexed) -> Signal | None:
    """The last analysis or deadline that spoke before the first rollback; where none did, the last alert."""
    before = [] if rolled_back(index) is None else signals(index)
    return next((each for each in reversed(before) if each.name != "alert"), before[-1] if before else None)


_APART = 1.0
"""Seconds by which the watches of two kinds may be out of step."""


def first_signal(name: str) -> Callable[[Indexed], float | None]:
    return lambda index: next((each.moment for each in signals(index) if each.name == name), None)


def ready_of(index: Indexed) -> tuple[Steps, Steps]:
    """Ready engines of the revisions that ran at the injection, and of the later ones."""
    new = {pod.uid for pod in newcomers(index)}
    ready: tuple[set[str], set[str]] = (set(), set())
    steps = (Steps(), Steps())
    for moment, event in engine_pods(index):
        side = int(event.uid in new)
        (ready[side].add if is_ready(event) else ready[side].discard)(event.uid)
        steps[side].set(moment, len(ready[side]))
        if not steps[1 - side].times:
            steps[1 - side].set(moment, 0)
    return steps


def old_serves(index: Indexed) -> float | None:
    """When, after the rollback, only engines of the former revision were ready and a user was served well."""
    back = rolled_back(index)
    if back is None:
        return None
    old, new = ready_of(index)
    clean = next(
        (at for at in sorted({back, *old.times, *new.times}) if at >= back and old.at(at) and new.at(at) == 0), None
    )
    if clean is None:
        return None
    ends = (user.end for user, good in zip(index.users, index.good, strict=True) if good and user.sent >= clean)
    return min(ends, default=None)


def promoted(index: Indexed) -> float | None:
    """When every engine that is asked for was ready and of a new revision, and none of the former was left."""
    start, wanted = began(index), desired_engines(index)
    old, new = ready_of(index)
    moments = sorted({*old.times, *new.times})
    return next(
        (
            at
            for at in moments
            if start is not None and start <= at < until(index)
            if old.at(at) == 0 and (new.at(at) or 0) >= max(1.0, wanted.at(at) or 0)
        ),
        None,
    )


def _unknown(index: Indexed) -> str:
    """Why nothing can be said; empty where something can."""
    if index.injected is None:
        return "no fault was injected"
    if not any(event.kind in WORKLOADS and event.role in ENGINE_ROLES for _, event in index.events(ObjectChanged)):
        return "no workload of engines was watched"
    return "" if old_revisions(index) else "no engine said of which revision it is"


@dataclass(frozen=True)
class Happened:
    """An event of a rollout."""

    name: str
    help: str
    moment: Callable[[Indexed], float | None]
    dimension: Dimension | None = None
    kind: Kind = Kind.EVENT
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if why := _unknown(index):
            return missing(why)
        at, by = self.moment(index), trigger(index)
        return Reading(at, samples=1, evidence=(by.detail,) if at is not None and by else (), reason=_why(index, at))


def _why(index: Indexed, at: float | None) -> str:
    if at is not None:
        return ""
    if began(index) is None:
        return "no new revision came"
    spoke = "; ".join(f"{each.name}: {each.detail}" for each in signals(index))
    return f"what spoke against the new revision: {spoke or 'nothing'}"


@dataclass(frozen=True)
class RollbackLag:
    """From the new revision's first pod to the target's taking it back."""

    name: str = "rollback-lag"
    help: str = "from the first pod of the new revision to the rollback by the target itself"
    dimension: Dimension = Dimension.DURATION
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if why := _unknown(index):
            return missing(why)
        first = next(iter(newcomers(index)), None)
        if first is None:
            return missing("no pod of a new revision was seen")
        back, by = rolled_back(index), trigger(index)
        if back is not None:
            return Reading(max(0.0, back - first.born), samples=1, evidence=(by.detail,) if by else ())
        watched = max(0.0, until(index) - first.born)
        return Reading(watched, samples=1, complete=False, reason=_why(index, None), at_least=True)


@dataclass(frozen=True)
class Rollbacks:
    """How often the target took a revision back within the window."""

    name: str = "rollbacks"
    help: str = "how often the target took a new revision back by itself"
    dimension: Dimension = Dimension.COUNT
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if why := _unknown(index):
            return missing(why)
        if began(index) is None:
            return missing("no new revision came")
        found = [each for each in rollbacks(index) if each.moment in window]
        return Reading(len(found), samples=1, evidence=tuple(each.detail for each in found))


@dataclass(frozen=True)
class Share:
    """Which share of the ready engines' time the new revision had, over the window."""

    name: str = "bad-revision-share"
    help: str = "share of the ready engines' time that the new revision had: what part of the users it could reach"
    dimension: Dimension = Dimension.SHARE
    kind: Kind = Kind.TOTAL
    min_samples: int = 1

    def read(self, history: History, window: Span) -> Reading:
        index = Indexed.of(history)
        if why := _unknown(index):
            return missing(why)
        old, new = (_time(steps, window) for steps in ready_of(index))
        if old + new <= 0:
            return missing("no engine was ready")
        return Reading(new / (old + new), samples=len(newcomers(index)) or 1)


def _time(steps: Steps, window: Span) -> float:
    ends = [*steps.times[1:], math.inf]
    rows = zip(steps.times, ends, steps.values, strict=True)
    return sum(max(0.0, min(end, window.end) - max(start, window.start)) * value for start, end, value in rows)


PROBES: tuple[Probe, ...] = (
    Happened("rollout-began", "another template of the engines is asked for", began),
    Happened("rolled-back", "the target itself took the new revision back", rolled_back),
    Happened("old-revision-serves", "after the rollback only the former revision is ready, and serves", old_serves),
    Happened("promoted", "all engines are ready and of the new revision", promoted),
    Happened("analysis-failed", "an analysis of the new revision failed", first_signal("analysis")),
    Happened("progress-deadline-exceeded", "the rollout made no progress in time", first_signal("progress deadline")),
    RollbackLag(),
    Rollbacks(),
    Share(),
)
