"""ControllerRevisions: the history of a pod template, for kinds that keep no ReplicaSet per template."""

from __future__ import annotations

from typing import Any

import msgspec

from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.objects import (
    Json,
    copy,
    dig,
    is_controlled_by,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from drillbook.sandbox.control.registry import Registry

RESOURCE = "controllerrevisions.apps"
HASH = "controller-revision-hash"


def history(registry: Registry, owner: Json) -> list[Json]:
    """The owner's revisions, the oldest first."""
    rows = [row for row in registry.store.owned_by(uid_of(owner), RESOURCE) if is_controlled_by(row, owner)]
    return sorted(rows, key=lambda row: int(row["revision"]))


def current(registry: Registry, owner: Json, data: Json) -> Json:
    """The newest revision, which is that of ``data``: found, found and renumbered, or made. Raises ApiError."""
    rows = history(registry, owner)
    kind = registry.kinds.of_resource(RESOURCE)
    highest = int(rows[-1]["revision"]) if rows else 0
    found = next((row for row in rows if row["data"] == data), None)
    if found is not None:
        if int(found["revision"]) < highest:
            return registry.modify(
                kind, namespace_of(found), name_of(found), lambda fresh: fresh.update(revision=highest + 1)
            ).obj
        return found
    hashed = podset.safe_hash(msgspec.json.encode(data, order="sorted"))
    labels = {**dig(owner, "spec", "selector", "matchLabels", default={}), "controller.kubernetes.io/hash": hashed}
    made: Json = {
        "metadata": {
            "name": f"{name_of(owner)}-{hashed}",
            "labels": labels,
            "ownerReferences": [owner_reference(owner)],
        },
        "data": copy(data),
        "revision": highest + 1,
    }
    return registry.create(kind, namespace_of(owner), made).obj


def template_data(template: Json) -> Json:
    """What ``kubectl rollout undo`` patches back."""
    return {"spec": {"template": {**copy(template), "$patch": "replace"}}}


def template_of(revision: Json) -> Json:
    template: Json = copy(revision["data"]["spec"]["template"])
    template.pop("$patch", None)
    return template


def name_in(pod: Json) -> str:
    """The name of the revision that the pod was made from."""
    return labels_of(pod).get(HASH, "")


def forget(registry: Registry, owner: Json, live: set[str], limit: Any) -> None:
    """Delete the oldest revisions beyond the limit that no pod uses. Raises ApiError."""
    idle = [row for row in history(registry, owner)[:-1] if name_of(row) not in live]
    kind = registry.kinds.of_resource(RESOURCE)
    for row in idle[: max(0, len(idle) - int(limit))]:
        registry.delete(kind, namespace_of(row), name_of(row))
