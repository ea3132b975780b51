"""What the recovery of each victim was made of: legs from the injection to users served, each ending where the next
begins, so that they add up and nothing is counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from drillbook.model.events import ObjectChanged
from drillbook.model.judgement import RecoveryPart
from drillbook.model.request import Outcome
from drillbook.probes.capacity import ENGINE_ROLES, is_leaving, is_ready, role_pods
from drillbook.probes.index import Indexed
from drillbook.probes.names import ITERATIONS
from drillbook.probes.suffering import first_token, outages

LEAD = 2.0
"""Seconds before a loss at which its replacement may already have been seen: the two watches are not in step."""
LEGS = ("endpoint removed", "pod scheduled", "process up", "model loaded", "ready", "first token", "SLO")


@dataclass
class Pod:
    """One engine pod and all that was seen of it, in order."""

    name: str
    uid: str
    changes: list[tuple[float, ObjectChanged]] = field(default_factory=list)

    @property
    def born(self) -> float:
        return self.changes[0][0]

    def first(self, since: float, wanted: Callable[[ObjectChanged], bool]) -> float | None:
        return next((moment for moment, event in self.changes if moment >= since and wanted(event)), None)


def recovery(index: Indexed, injected: float, mitigated: float | None) -> tuple[RecoveryPart, ...]:
    """The legs of every victim's way back, monotonic moments turned into seconds after time zero.

    A victim is an engine pod that lost its readiness, its life or a container after the injection. Where it was
    replaced, the legs are those of the replacement: the n-th new pod stands for the n-th lost one.
    """
    seen = pods(index)
    found: list[RecoveryPart] = []
    lost = sorted(
        ((moment, pod) for pod in seen if (moment := _lost(pod, injected)) is not None), key=lambda item: item[0]
    )
    newcomers = [pod for pod in sorted(seen, key=lambda pod: pod.born) if pod.born >= injected and is_new(pod)]
    for moment, victim in lost:
        gone = victim.first(injected, is_leaving)
        # One that came long before the loss was no replacement: an autoscaler makes pods too, and takes them away.
        heirs = [pod for pod in newcomers if pod.born >= moment - LEAD and pod is not victim]
        if gone is None:
            found += _legs(index, injected, victim, victim, mitigated)
        elif heirs:
            newcomers.remove(heirs[0])
            found += _legs(index, injected, victim, heirs[0], mitigated)
    return tuple(found)


def pods(index: Indexed, roles: frozenset[str] = ENGINE_ROLES) -> list[Pod]:
    """All pods of these roles that were ever seen."""
    found: dict[str, Pod] = {}
    for moment, event in role_pods(index, roles):
        found.setdefault(event.uid, Pod(event.name, event.uid)).changes.append((moment, event))
    return list(found.values())


def is_new(pod: Pod) -> bool:
    """Whether it came while the run looked on."""
    return pod.changes[0][1].change == "added"


def _lost(pod: Pod, injected: float) -> float | None:
    ready, restarts = False, 0
    for moment, event in pod.changes:
        count = int(event.summary.get("restarts") or 0)
        if moment >= injected and ((ready and not is_ready(event)) or (ready and count > restarts)):
            return moment
        ready, restarts = is_ready(event), count
    return None


def _legs(index: Indexed, injected: float, victim: Pod, heir: Pod, mitigated: float | None) -> Iterator[RecoveryPart]:
    lost = _lost(victim, injected) or injected
    replaced = heir is not victim
    since = heir.born if replaced else lost
    restarted = 0 if replaced else _restarts_before(heir, lost)
    up = heir.first(since, lambda event: is_running(event, restarted, replaced=replaced))
    ready = heir.first(max(since, up or since), is_ready)
    seen: dict[str, float | None] = {
        "endpoint removed": _endpoint_removed(index, injected, victim.name),
        "pod scheduled": heir.first(since, lambda event: bool(event.summary.get("node"))) if replaced else None,
        "process up": up,
        "model loaded": answers_from(index, heir.name, up),
        "ready": ready,
        "first token": first_token_of(index, heir.name, ready),
        "SLO": mitigated,
    }
    start = injected
    for name in LEGS:
        moment = seen[name]
        end = None if moment is None else max(moment, start)
        if name == "pod scheduled" and not replaced:
            continue  # nothing was scheduled: the containers were started anew where they were
        if name == "SLO" and not outages(index):
            continue  # users had it all along
        yield RecoveryPart(
            name=name,
            start=index.relative(start),
            end=None if end is None else index.relative(end),
            pod=heir.name,
        )
        start = start if end is None else end


def _restarts_before(pod: Pod, moment: float) -> int:
    counts = [int(event.summary.get("restarts") or 0) for when, event in pod.changes if when < moment]
    return counts[-1] if counts else 0


def is_running(event: ObjectChanged, restarted: int, *, replaced: bool) -> bool:
    containers = event.summary.get("containers") or []
    running = all(container.get("state") == "running" for container in containers)
    if not replaced and int(event.summary.get("restarts") or 0) <= restarted:
        return False
    return running if containers else event.summary.get("phase") == "Running"


def _endpoint_removed(index: Indexed, injected: float, name: str) -> float | None:
    """When the last EndpointSlice that had the pod among its ready ones let it go."""
    held: dict[str, bool] = {}
    removed: float | None = None
    for line, event in index.events(ObjectChanged):
        if event.kind != "EndpointSlice":
            continue
        has = event.change != "deleted" and name in (event.summary.get("ready") or ())
        if line.mono >= injected and held.get(event.uid) and not has:
            removed = line.mono
        held[event.uid] = has
        if removed is not None and not any(held.values()):
            return removed
    return removed


def answers_from(index: Indexed, pod: str, up: float | None) -> float | None:
    """When ``/health`` of the pod first answered: vLLM listens only once the model is loaded."""
    if up is None:
        return None
    polls = index.observed.get("health", ())
    return next(
        (m for m, event in polls if m >= up and event.labels.get("replica") == pod and event.value == 1.0), None
    )


def first_token_of(index: Indexed, pod: str, ready: float | None) -> float | None:
    if ready is None:
        return None
    moments = (
        first_token(request)
        for request in index.users
        if request.replica == pod and request.outcome is Outcome.OK and request.chunks
    )
    seen = min((moment for moment in moments if moment >= ready), default=None)
    return seen if seen is not None else _first_step(index, pod, ready)


def _first_step(index: Indexed, pod: str, ready: float) -> float | None:
    """When the engine's own count of steps first grew: no answer says who gave it behind most routers."""
    steps = [item for item in index.observed.get(ITERATIONS, ()) if item[1].labels.get("replica") == pod]
    for (_, before), (moment, after) in pairwise(steps):
        if moment >= ready and (after.value or 0.0) > (before.value or 0.0):
            return moment
    return None
