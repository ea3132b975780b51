"""The arithmetic of a Deployment: how many replicas each of its ReplicaSets should have next. Pure.

It follows the Deployment controller of kube-controller-manager, whose rounding drills and people rely on: maxSurge
rounds up, maxUnavailable down, and both may not be zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drillbook.sandbox.control import quantity
from drillbook.sandbox.control.objects import Json, annotations_of, dig

REVISION = "deployment.kubernetes.io/revision"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"


def replicas(obj: Json | None) -> int:
    """``spec.replicas``."""
    return int(dig(obj, "spec", "replicas", default=0))


def total(sets: Sequence[Json]) -> int:
    return sum(replicas(row) for row in sets)


def status_sum(sets: Sequence[Json], field: str) -> int:
    return sum(int(dig(row, "status", field, default=0)) for row in sets)


@dataclass(frozen=True, slots=True)
class Budget:
    """What a rolling update may do at once."""

    surge: int
    unavailable: int

    @classmethod
    def of(cls, deployment: Json) -> Budget:
        if dig(deployment, "spec", "strategy", "type") != "RollingUpdate":
            return cls(0, 0)
        rolling = dig(deployment, "spec", "strategy", "rollingUpdate", default={})
        wanted = replicas(deployment)
        surge = quantity.of_share(rolling.get("maxSurge"), wanted, up=True)
        unavailable = quantity.of_share(rolling.get("maxUnavailable"), wanted, up=False)
        if surge == 0 and unavailable == 0:
            unavailable = 1
        return cls(surge, min(unavailable, wanted) if wanted else unavailable)


def new_set_size(deployment: Json, newest: Json, sets: Sequence[Json]) -> int:
    """How far the new ReplicaSet may grow now."""
    wanted, present = replicas(deployment), replicas(newest)
    if dig(deployment, "spec", "strategy", "type") == "Recreate":
        return wanted
    room = wanted + Budget.of(deployment).surge - total(sets)
    return present if room <= 0 else present + min(room, wanted - present)


def old_set_sizes(deployment: Json, newest: Json, old: Sequence[Json]) -> dict[str, int]:
    """New sizes by name of the old ReplicaSets that shrink: first what is unhealthy anyway, then what can be spared."""
    everything = [*old, newest]
    least = replicas(deployment) - Budget.of(deployment).unavailable
    not_yet = replicas(newest) - int(dig(newest, "status", "availableReplicas", default=0))
    spare = total(everything) - least - not_yet
    sizes = {row["metadata"]["name"]: replicas(row) for row in old}
    available = {row["metadata"]["name"]: int(dig(row, "status", "availableReplicas", default=0)) for row in old}
    before = dict(sizes)
    if spare <= 0:
        return {}
    order = [row["metadata"]["name"] for row in sorted(old, key=lambda row: row["metadata"]["creationTimestamp"])]
    for name in order:
        sick = min(spare, sizes[name] - available[name])
        if sick > 0:
            sizes[name] -= sick
            spare -= sick
    spare = status_sum(everything, "availableReplicas") - least
    for name in order:
        gone = min(sizes[name], spare)
        if gone > 0:
            sizes[name] -= gone
            spare -= gone
    return {name: size for name, size in sizes.items() if size != before[name]}


def proportional_sizes(deployment: Json, newest: Json | None, old: Sequence[Json]) -> dict[str, int]:
    """New sizes by name after ``spec.replicas`` itself changed, in proportion while a rollout is under way."""
    active = [row for row in [*old, *([newest] if newest else [])] if replicas(row) > 0]
    wanted = replicas(deployment)
    if len(active) <= 1:
        latest = (
            active[0]
            if active
            else newest or max(old, key=lambda row: row["metadata"]["creationTimestamp"], default=None)
        )
        return {} if latest is None or replicas(latest) == wanted else {latest["metadata"]["name"]: wanted}
    if newest is not None and _is_saturated(deployment, newest):
        return {row["metadata"]["name"]: 0 for row in active if row is not newest}
    allowed = wanted + Budget.of(deployment).surge if wanted > 0 else 0
    left = allowed - total(active)
    if left == 0:
        return {}
    active.sort(key=lambda row: (replicas(row), row["metadata"]["creationTimestamp"]), reverse=True)
    sizes: dict[str, int] = {}
    for row in active:
        share = _share(row, deployment, allowed, left)
        sizes[row["metadata"]["name"]] = replicas(row) + share
        left -= share
    first = active[0]["metadata"]["name"]
    sizes[first] = max(0, sizes[first] + left)
    return sizes


def _is_saturated(deployment: Json, newest: Json) -> bool:
    wanted = replicas(deployment)
    return (
        annotations_of(newest).get(DESIRED) == str(wanted)
        and replicas(newest) == wanted
        and dig(newest, "status", "availableReplicas", default=0) == wanted
    )


def _share(row: Json, deployment: Json, allowed: int, left: int) -> int:
    before = int(annotations_of(row).get(MAXIMUM, 0)) or int(dig(deployment, "status", "replicas", default=0)) or 1
    share = round(replicas(row) * allowed / before) - replicas(row)
    return min(share, left) if left > 0 else max(share, left)


def is_complete(deployment: Json, status: Json) -> bool:
    """Whether the rollout is over: everything is new and available, and nothing old is left."""
    wanted = replicas(deployment)
    return all(status.get(field, 0) == wanted for field in ("updatedReplicas", "replicas", "availableReplicas"))


def has_progressed(before: Json, now: Json) -> bool:
    """Whether anything moved in the right direction between two statuses."""
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    old_now = now.get("replicas", 0) - now.get("updatedReplicas", 0)
    return old_now < old_before or any(
        now.get(field, 0) > before.get(field, 0) for field in ("updatedReplicas", "readyReplicas", "availableReplicas")
    )
