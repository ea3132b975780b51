"""Revisions, read off what was watched: which ran at the injection, when a new one came, and what each had since.

Revisions are told apart by the pods' template hashes, and templates by their fingerprints. Looked at are the pods of
the workload that the run's own bad rollout changes, and the engines where it has none.
"""

from __future__ import annotations

from collections.abc import Iterator

from drillbook.model.events import FaultChanged, FaultState, ObjectChanged
from drillbook.model.history import Span
from drillbook.probes import recovery
from drillbook.probes.capacity import ENGINE_ROLES, Steps, desired, is_leaving, is_ready, role_pods
from drillbook.probes.index import Indexed

FAULT = "bad-rollout"
WORKLOADS = ("Deployment", "StatefulSet", "Rollout")


def until(index: Indexed) -> float:
    """The end of what the target does by itself: where drillbook begins to undo a rollout of its own."""
    plan = index.plan
    ours = {fault.id for fault in plan.faults if fault.fault == FAULT} if plan else set()
    moments = (line.mono for line, e in index.events(FaultChanged) if e.state is FaultState.UNDOING and e.id in ours)
    return min([*moments, index.watched_until])


def roles(index: Indexed) -> frozenset[str]:
    """The roles of the pods whose revisions are looked at."""
    return index.once("roles of the rollout", lambda: _roles(index))


def _roles(index: Indexed) -> frozenset[str]:
    faults = index.plan.faults if index.plan else ()
    ours = {(ref.kind, ref.name) for fault in faults if fault.fault == FAULT for ref in fault.targets}
    found = {event.role for _, event in index.events(ObjectChanged) if (event.kind, event.name) in ours}
    return frozenset(found - {""}) or ENGINE_ROLES


def is_watched(index: Indexed) -> bool:
    """Whether a workload that makes such pods was seen."""
    return any(event.kind in WORKLOADS and event.role in roles(index) for _, event in index.events(ObjectChanged))


def pods(index: Indexed) -> list[recovery.Pod]:
    """All pods of every revision."""
    return recovery.pods(index, roles(index))


def old_revisions(index: Indexed) -> set[str]:
    """What ran at the injection."""
    start, last = index.injected, dict[str, tuple[str, bool]]()
    for moment, event in role_pods(index, roles(index)):
        if start is not None and moment <= start:
            last[event.uid] = str(event.summary.get("revision") or ""), is_ready(event)
    return {revision for revision, ready in last.values() if ready and revision}


def newcomers(index: Indexed) -> list[recovery.Pod]:
    """Pods of a revision that did not run at the injection, in the order in which they came."""
    old, start = old_revisions(index), index.injected
    found = [] if start is None or not old else [pod for pod in pods(index) if pod.born >= start]
    return sorted((pod for pod in found if revision_of(pod) not in {"", *old}), key=lambda pod: pod.born)


def revision_of(pod: recovery.Pod) -> str:
    """The template hash of a pod; empty where none was seen."""
    return next((str(event.summary["revision"]) for _, event in pod.changes if event.summary.get("revision")), "")


def began(index: Indexed) -> float | None:
    """When another template was first asked for, or a pod of a new revision seen."""
    moments = [pod.born for pod in newcomers(index)[:1]]
    if index.injected is not None:
        for was, turned, template in templates(index):
            if index.injected <= turned <= until(index) and was != template:
                moments.append(turned)
                break
    return min(moments, default=None)


def taken_away(index: Indexed) -> dict[str, float]:
    """By name, when each pod left that the run's own rollout replaced or took back, as every rollout does."""
    return index.once("taken away by the rollout", lambda: _taken_away(index))


def _taken_away(index: Indexed) -> dict[str, float]:
    faults = index.plan.faults if index.plan else ()
    start = began(index) if any(fault.fault == FAULT for fault in faults) else None
    struck = {ref.uid for fault in faults for ref in fault.targets}
    rows = [] if start is None else [(pod, pod.first(start, is_leaving)) for pod in pods(index)]
    return {pod.name: left for pod, left in rows if left is not None and pod.uid not in struck}


def templates(index: Indexed) -> Iterator[tuple[str, float, str]]:
    """Each template that a workload asked for after its first: that first one, when, and which."""
    first: dict[str, str] = {}
    for line, event in index.events(ObjectChanged):
        template = str(event.summary.get("template") or "")
        if event.kind in WORKLOADS and event.role in roles(index) and event.change != "deleted" and template:
            if index.injected is None or line.mono <= index.injected or event.uid not in first:
                first[event.uid] = template
            yield first[event.uid], line.mono, template


def ready_of(index: Indexed) -> tuple[Steps, Steps]:
    """Ready pods of the revisions that ran at the injection, and of the later ones.

    Where blue/green says which revision users get, only that one's pods count: the others wait, and serve nobody.
    """
    new = {pod.uid for pod in newcomers(index)}
    ready: tuple[dict[str, str], dict[str, str]] = ({}, {})
    steps, active = (Steps(), Steps()), ""
    for line, event in index.events(ObjectChanged):
        if event.role not in roles(index) or event.kind not in ("Pod", *WORKLOADS):
            continue
        if event.kind != "Pod":
            active = str(event.summary.get("active") or active)
        elif is_ready(event):
            ready[event.uid in new][event.uid] = str(event.summary.get("revision") or "")
        else:
            ready[event.uid in new].pop(event.uid, None)
        for side, there in zip(steps, ready, strict=True):
            if side.times or event.kind == "Pod":
                side.set(line.mono, sum(each == active for each in there.values()) if active else len(there))
    return steps


def reached(index: Indexed, revision: str, window: Span) -> list[Span]:
    """When within the window users could reach a revision's pods: always, but for blue/green, which says so."""
    said = [
        (line.mono, str(event.summary["active"]))
        for line, event in index.events(ObjectChanged)
        if event.kind in WORKLOADS and event.role in roles(index) and event.summary.get("active")
    ]
    if not said:
        return [window]
    ends = [*(moment for moment, _ in said[1:]), window.end]
    spans = (
        Span(max(start, window.start), min(end, window.end))
        for (start, active), end in zip(said, ends, strict=True)
        if active == revision
    )
    return [span for span in spans if span.start < span.end]


def promoted(index: Indexed) -> float | None:
    """When every pod that is asked for was ready and of a new revision, and none of the former was left."""
    start, wanted = began(index), desired(index, roles(index))
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
