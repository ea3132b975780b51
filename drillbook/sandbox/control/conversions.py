"""Between the served versions of one resource.

``autoscaling/v1`` is ``v2`` with one CPU metric; ``events.k8s.io`` has the core's events under newer names of fields.
"""

from __future__ import annotations

import msgspec

from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, annotations_of, copy, dig

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_EVENT_FIELDS = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}


def to_storage(kind: Kind, obj: Json) -> Json:
    """An object of ``kind``'s version, in place, as the storage version."""
    if not kind.storage:
        return obj
    obj["apiVersion"] = kind.stored_api_version
    if kind.stored_in is not None:
        return _renamed(obj, _EVENT_FIELDS)
    if kind.group != "autoscaling":
        return obj  # versions of a custom resource differ in their name only
    spec = obj.get("spec") or {}
    annotations = annotations_of(obj)
    metrics = msgspec.json.decode(annotations.pop(_METRICS, "[]"))
    if _BEHAVIOR in annotations:
        spec["behavior"] = msgspec.json.decode(annotations.pop(_BEHAVIOR))
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        metrics.insert(
            0,
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
            },
        )
    if metrics:
        spec["metrics"] = metrics
    return obj


def from_storage(kind: Kind, obj: Json) -> Json:
    """A stored object as ``kind``'s version: itself, or a copy where that differs."""
    if not kind.storage:
        return obj
    result = copy(obj)
    result["apiVersion"] = kind.api_version
    if kind.stored_in is not None:
        return {"eventTime": None, **_renamed(result, {old: new for new, old in _EVENT_FIELDS.items()})}
    if kind.group != "autoscaling":
        return result
    spec, rest = result.get("spec") or {}, []
    for metric in spec.pop("metrics", []):
        share = dig(metric, "resource", "target", "averageUtilization")
        if dig(metric, "resource", "name") == "cpu" and share is not None:
            spec["targetCPUUtilizationPercentage"] = share
        else:
            rest.append(metric)
    behavior = spec.pop("behavior", None)
    annotations = result["metadata"].setdefault("annotations", {})
    if rest:
        annotations[_METRICS] = msgspec.json.encode(rest).decode()
    if behavior:
        annotations[_BEHAVIOR] = msgspec.json.encode(behavior).decode()
    status = result.get("status") or {}
    for metric in status.pop("currentMetrics", None) or []:
        if dig(metric, "resource", "name") == "cpu":
            status["currentCPUUtilizationPercentage"] = dig(metric, "resource", "current", "averageUtilization")
    status.pop("conditions", None)
    return result


def _renamed(obj: Json, names: dict[str, str]) -> Json:
    """The object with some of its fields under other names, in place."""
    for name, other in names.items():
        if name in obj:
            obj[other] = obj.pop(name)
    return obj
