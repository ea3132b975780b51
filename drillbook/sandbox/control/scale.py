"""The scale subresource: replicas of anything that has them, behind one small object."""

from __future__ import annotations

from typing import Any

from drillbook.sandbox.control import selectors, statuses
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, dig, meta, name_of

SCALE = Kind("autoscaling", "v1", "Scale", "scales")


def to_scale(kind: Kind, obj: Json) -> Json:
    wanted, present, selector = kind.scale_paths
    text = dig(obj, *selector) if selector else selectors.selector_text(dig(obj, "spec", "selector"))
    metadata = {key: meta(obj)[key] for key in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")}
    status: Json = {"replicas": dig(obj, *present, default=0)}
    if text:
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": dig(obj, *wanted, default=0)},
        "status": status,
    }


def from_scale(kind: Kind, obj: Json, scale: Json) -> Json:
    """Write the scale's replicas into ``obj``, in place. Raises ApiError 422."""
    replicas = dig(scale, "spec", "replicas", default=0)
    if not isinstance(replicas, int) or replicas < 0:
        cause = ("spec.replicas", "FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0")
        raise statuses.invalid("Scale", "autoscaling", name_of(obj), [cause])
    version = dig(scale, "metadata", "resourceVersion")
    if version:
        obj["metadata"]["resourceVersion"] = version
    else:
        obj["metadata"].pop("resourceVersion", None)
    parent: Any = obj
    *path, last = kind.scale_paths[0]
    for part in path:
        parent = parent.setdefault(part, {})
    parent[last] = replicas
    return obj
