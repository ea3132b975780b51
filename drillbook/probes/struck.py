"""The engines that a drill struck, since when, and when each was whole again or replaced.

Struck are the engine pods that a fault names, and those that were taken away after the injection (a scale-down, an
eviction). Healed is a pod whose fault was undone, or that became Ready again; one that is gone is healed by the pod
that came in its place.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from drillbook.model.events import FaultChanged, FaultState
from drillbook.probes.capacity import is_leaving, is_ready
from drillbook.probes.index import Indexed
from drillbook.probes.recovery import Pod, is_new, pods


@dataclass(frozen=True)
class Struck:
    """Monotonic seconds; ``healed`` is infinite where that was not seen."""

    name: str
    since: float
    healed: float
    heir: str
    """Who serves from ``healed`` on: itself, or the pod in its place; empty where nobody does."""

    @property
    def ended(self) -> float:
        """Until when it was out of service itself: one that was replaced stays so."""
        return self.healed if self.heir == self.name else math.inf


def struck(index: Indexed) -> list[Struck]:
    """All of them, in the order in which they were struck."""
    return index.once("struck engines", lambda: _struck(index))


def _struck(index: Indexed) -> list[Struck]:
    start = index.injected
    if start is None:
        return []
    hit, undone, seen = _hit(index), _undone(index), pods(index)
    found: list[tuple[float, float, Pod, bool]] = []
    for pod in seen:
        away = pod.first(start, is_leaving)
        if away is not None and away >= index.watched_until:
            away = None
        since = min((moment for moment in (hit.get(pod.uid), away) if moment is not None), default=None)
        if since is not None:
            found.append((since, undone.get(pod.uid, math.inf), pod, away is not None))
    gone = {pod.uid for _, _, pod, away in found if away}
    heirs = sorted((pod for pod in seen if pod.born >= start and is_new(pod) and pod.uid not in gone), key=_born)
    rows = []
    for since, back, pod, away in sorted(found, key=lambda row: row[0]):
        heir = (heirs.pop(0) if heirs else None) if away else pod
        healed = math.inf if heir is None else _healed(heir, since, back, replaced=away)
        rows.append(Struck(pod.name, since, healed, "" if heir is None else heir.name))
    return rows


def _healed(pod: Pod, since: float, undone: float, *, replaced: bool) -> float:
    """A pod that never stopped being Ready is whole again when its fault is undone."""
    lost = None if replaced else pod.first(since, lambda event: not is_ready(event))
    if not replaced and lost is None:
        return undone
    ready = pod.first(since if lost is None else lost, is_ready)
    if ready is None:
        return math.inf
    return ready if replaced or math.isinf(undone) else max(ready, undone)


def _born(pod: Pod) -> float:
    return pod.born


def _hit(index: Indexed) -> dict[str, float]:
    """When each pod that a fault names was struck, by uid."""
    found: dict[str, float] = {}
    for fault in index.plan.faults if index.plan else ():
        moment = index.fault_moment(FaultState.INJECTED, fault.id)
        for target in fault.targets if moment is not None else ():
            if target.kind == "Pod" and moment is not None:
                found[target.uid] = min(moment, found.get(target.uid, math.inf))
    return found


def _undone(index: Indexed) -> dict[str, float]:
    """When the last fault that names a pod was undone, by uid."""
    ids = {fault.id: fault for fault in (index.plan.faults if index.plan else ())}
    found: dict[str, float] = {}
    for line, event in index.events(FaultChanged):
        if event.state is FaultState.UNDONE and event.id in ids:
            for target in ids[event.id].targets:
                found[target.uid] = max(line.mono, found.get(target.uid, 0.0))
    return found
