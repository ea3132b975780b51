"""Kubernetes objects as plain JSON: the few accessors that everything here shares."""

from __future__ import annotations

from typing import Any

import msgspec

Json = dict[str, Any]


def copy(value: Json) -> Json:
    """A deep copy; objects in the store are never changed in place."""
    result: Json = msgspec.json.decode(msgspec.json.encode(value))
    return result


def meta(obj: Json) -> Json:
    result: Json = obj["metadata"]
    return result


def name_of(obj: Json) -> str:
    return str(obj["metadata"].get("name", ""))


def namespace_of(obj: Json) -> str:
    """Empty for cluster-scoped objects."""
    return str(obj["metadata"].get("namespace", ""))


def uid_of(obj: Json) -> str:
    return str(obj["metadata"].get("uid", ""))


def labels_of(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Json) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_deleting(obj: Json) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))


def owners_of(obj: Json) -> list[Json]:
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Json) -> Json | None:
    """The owner reference that says ``controller: true``."""
    return next((owner for owner in owners_of(obj) if owner.get("controller")), None)


def is_controlled_by(obj: Json, owner: Json) -> bool:
    found = controller_of(obj)
    return found is not None and found.get("uid") == uid_of(owner)


def owner_reference(owner: Json) -> Json:
    """A controller's reference, as the built-in controllers write it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": uid_of(owner),
        "controller": True,
        "blockOwnerDeletion": True,
    }


def dig(obj: Any, *path: str | int, default: Any = None) -> Any:
    """The value at ``path``, or ``default`` where any part of it is missing or null."""
    for part in path:
        if isinstance(obj, dict):
            obj = obj.get(part)
        elif isinstance(obj, list) and isinstance(part, int) and -len(obj) <= part < len(obj):
            obj = obj[part]
        else:
            return default
        if obj is None:
            return default
    return obj


def condition_of(obj: Json, kind: str) -> Json | None:
    """The status condition of this type."""
    conditions: list[Json] = dig(obj, "status", "conditions", default=[])
    return next((row for row in conditions if row.get("type") == kind), None)


def is_condition_true(obj: Json, kind: str) -> bool:
    return (condition_of(obj, kind) or {}).get("status") == "True"
