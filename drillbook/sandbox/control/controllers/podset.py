"""Pods as controllers see them: active, ready, available, whose they are, and which to let go first."""

from __future__ import annotations

from typing import Any

from drillbook import clock
from drillbook.sandbox.control import selectors, times
from drillbook.sandbox.control.objects import (
    Json,
    annotations_of,
    condition_of,
    copy,
    dig,
    is_condition_true,
    is_controlled_by,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from drillbook.sandbox.control.registry import Registry

_HASH_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def is_active(pod: Json) -> bool:
    return dig(pod, "status", "phase") not in ("Succeeded", "Failed") and not is_deleting(pod)


def is_ready(pod: Json) -> bool:
    return is_condition_true(pod, "Ready")


def ready_since(pod: Json) -> float | None:
    """Epoch seconds of the last transition to Ready; None while not ready."""
    row = condition_of(pod, "Ready") or {}
    ready = row.get("status") == "True" and row.get("lastTransitionTime")
    return times.parse(row["lastTransitionTime"]) if ready else None


def available_in(pod: Json, min_ready_seconds: int) -> float | None:
    """Seconds until a ready pod counts as available, 0 where it does; None while it is not ready."""
    if not is_ready(pod):
        return None
    since = ready_since(pod)
    return max(0.0, since + min_ready_seconds - clock.wall()) if min_ready_seconds and since is not None else 0.0


def count_available(pods: list[Json], min_ready_seconds: int) -> tuple[int, float | None]:
    """How many are available, and the seconds until the next one will be."""
    waits = [wait for pod in pods if (wait := available_in(pod, min_ready_seconds)) is not None]
    pending = [wait for wait in waits if wait > 0]
    return len(waits) - len(pending), min(pending, default=None)


def pod_of(template: Json, owner: Json, *, name: str = "", labels: dict[str, str] | None = None) -> Json:
    """A new pod from a template, controlled by ``owner``."""
    metadata: Json = {"ownerReferences": [owner_reference(owner)]}
    source = template.get("metadata") or {}
    for field in ("labels", "annotations", "finalizers"):
        if source.get(field):
            metadata[field] = copy({"value": source[field]})["value"]
    if labels:
        metadata.setdefault("labels", {}).update(labels)
    metadata.update({"name": name} if name else {"generateName": f"{name_of(owner)}-"})
    return {"metadata": metadata, "spec": copy(template["spec"])}


def claim(registry: Registry, owner: Json, resource: str) -> list[Json]:
    """The objects that ``owner`` controls and selects: orphans that match are adopted, its own that no longer match are
    released. Raises ApiError.
    """
    test = selectors.of_selector(dig(owner, "spec", "selector"))
    kind = registry.kinds.of_resource(resource)
    mine = []
    for obj in registry.store.owned_by(uid_of(owner), resource):
        if not is_controlled_by(obj, owner):
            continue
        if test(labels_of(obj)):
            mine.append(obj)
        elif not is_deleting(obj):
            registry.modify(kind, namespace_of(obj), name_of(obj), lambda fresh: _disown(fresh, owner))
    if is_deleting(owner):
        return mine
    orphans = [
        obj
        for obj in registry.store.uncontrolled(resource, namespace_of(owner))
        if test(labels_of(obj)) and not is_deleting(obj)
    ]
    mine += [
        registry.modify(kind, namespace_of(obj), name_of(obj), lambda fresh: _adopt(fresh, owner)).obj
        for obj in orphans
    ]
    return mine


def _disown(obj: Json, owner: Json) -> None:
    rest = [row for row in obj["metadata"].get("ownerReferences") or [] if row["uid"] != uid_of(owner)]
    obj["metadata"]["ownerReferences"] = rest


def _adopt(obj: Json, owner: Json) -> None:
    obj["metadata"].setdefault("ownerReferences", []).append(owner_reference(owner))


def by_least_loss(pods: list[Json], on_node: dict[str, int]) -> list[Json]:
    """In the order in which a ReplicaSet deletes: unassigned, pending, not ready, cheap, crowded, young first."""
    phases = {"Pending": 0, "Unknown": 1, "Running": 2}

    def rank(pod: Json) -> tuple[Any, ...]:
        node = dig(pod, "spec", "nodeName", default="")
        restarts = max(
            (row.get("restartCount", 0) for row in dig(pod, "status", "containerStatuses", default=[])), default=0
        )
        created = times.parse(pod["metadata"]["creationTimestamp"])
        cost = annotations_of(pod).get("controller.kubernetes.io/pod-deletion-cost", "0")
        return (
            bool(node),
            phases.get(dig(pod, "status", "phase", default=""), 0),
            is_ready(pod),
            int(cost) if cost.lstrip("-").isdigit() else 0,
            -on_node.get(node, 0),
            -(ready_since(pod) or 0),
            -restarts,
            -created,
        )

    return sorted(pods, key=rank)


def safe_hash(data: bytes) -> str:
    """An FNV-1a hash of 32 bits, in letters that spell no words: ``pod-template-hash``."""
    value = 2166136261
    for byte in data:
        value = (value ^ byte) * 16777619 & 0xFFFFFFFF
    return "".join(_HASH_LETTERS[int(digit)] for digit in str(value))
