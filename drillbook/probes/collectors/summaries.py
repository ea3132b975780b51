"""What is kept of a Kubernetes object: just what reports and clocks read. From plain JSON, or its metadata alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from drillbook.targets import accelerators

Json = dict[str, Any]


def summarise(kind: str, obj: Json) -> Json:
    """The summary that ``ObjectChanged`` documents for this kind; times are the API server's own strings."""
    match kind:
        case "Pod":
            return pod(obj)
        case "EndpointSlice":
            return {"ready": ready_endpoints(obj)}
        case "Event":
            about = obj.get("involvedObject") or obj.get("regarding") or {}
            return {
                "reason": obj.get("reason", ""),
                "message": obj.get("message") or obj.get("note") or "",
                "object": f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
            }
        case "Node":
            return node(obj)
        case "HorizontalPodAutoscaler":
            return autoscaler(obj)
        case "AnalysisRun" | "Canary":
            return judgement(obj)
        case "Rollout":
            chosen: Json = (obj.get("status") or {}).get("blueGreen") or {}
            return workload(obj) | {"active": str(chosen.get("activeSelector") or "")}
        case _:
            return workload(obj)


def pod(obj: Json) -> Json:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    labels = obj["metadata"].get("labels") or {}
    conditions = {each["type"]: each for each in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    containers = [_container(each) for each in status.get("containerStatuses") or ()]
    running = [
        each.get("state", {}).get("running", {}).get("startedAt") for each in status.get("containerStatuses") or ()
    ]
    reasons = [status.get("reason"), *(each["reason"] for each in containers)]
    return {
        "phase": status.get("phase", ""),
        "ready": conditions.get("Ready", {}).get("status") == "True",
        "node": spec.get("nodeName") or "",
        "ip": status.get("podIP") or "",
        "restarts": sum(int(each.get("restartCount") or 0) for each in status.get("containerStatuses") or ()),
        "reason": next((reason for reason in reasons if reason), ""),
        "gpus": accelerators.count(obj) if spec else 0,
        "deleting": bool(obj["metadata"].get("deletionTimestamp")),
        "scheduled": scheduled.get("lastTransitionTime") if scheduled.get("status") == "True" else None,
        "started": next((time for time in running if time), None),
        "containers": containers,
        "revision": next((labels[key] for key in _REVISIONS if key in labels), ""),
    }


def _container(status: Json) -> Json:
    state: Json = status.get("state") or {}
    name = next(iter(state), "waiting")
    detail: Json = state.get(name) or {}
    return {
        "name": status.get("name", ""),
        "ready": bool(status.get("ready")),
        "state": name,
        "exit_code": detail.get("exitCode"),
        "reason": detail.get("reason") or "",
    }


def workload(obj: Json) -> Json:
    """Deployments, StatefulSets, LeaderWorkerSets and Rollouts: unset replicas mean one."""
    spec, status = obj.get("spec"), obj.get("status") or {}
    progress: Json = next((row for row in status.get("conditions") or () if row.get("type") == "Progressing"), {})
    return {
        "desired": None if spec is None else spec.get("replicas", 1),
        "ready": status.get("readyReplicas") or 0,
        "updated": status.get("updatedReplicas") or 0,
        "available": status.get("availableReplicas") or 0,
        "template": _fingerprint((spec or {}).get("template")),
        "late": progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded",
        "aborted": bool(status.get("abort")),
        "message": str(status.get("message") or ""),
    }


def judgement(obj: Json) -> Json:
    """What an analysis of a new revision came to: an AnalysisRun of Argo Rollouts, or a Canary of Flagger."""
    status = obj.get("status") or {}
    last: Json = next(iter(reversed(status.get("conditions") or ())), {})
    return {
        "phase": str(status.get("phase") or ""),
        "message": str(status.get("message") or last.get("message") or ""),
        "weight": status.get("canaryWeight"),
    }


def _fingerprint(template: Json | None) -> str:
    """Tells one pod template from another; empty where there is none."""
    text = json.dumps(template, sort_keys=True) if template else ""
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else ""


_REVISIONS = ("rollouts-pod-template-hash", "pod-template-hash", "controller-revision-hash")
"""Labels that tell the pods of one revision from another's: of Argo Rollouts, Deployments, and StatefulSets."""


def ready_endpoints(obj: Json) -> list[str]:
    """Names of the pods that traffic may go to; an unset ``ready`` means yes, as the API says."""
    names = [
        str((endpoint.get("targetRef") or {}).get("name", ""))
        for endpoint in obj.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
    ]
    return sorted(name for name in names if name)


def node(obj: Json) -> Json:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    conditions: dict[str, Json] = {each["type"]: each for each in status.get("conditions") or ()}
    ready = conditions.get("Ready", {})
    return {
        "ready": ready.get("status") == "True",
        "reason": ready.get("reason", ""),
        "unschedulable": bool(spec.get("unschedulable")),
        "taints": sorted(f"{each['key']}:{each['effect']}" for each in spec.get("taints") or ()),
        "gpus": accelerators.amount(status.get("allocatable") or {}),
    }


def autoscaler(obj: Json) -> Json:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    about = spec.get("scaleTargetRef") or {}
    conditions: dict[str, Json] = {each.get("type", ""): each for each in status.get("conditions") or ()}
    active = conditions.get("ScalingActive", {})
    return {
        "target": f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        "min": spec.get("minReplicas", 1),
        "max": spec.get("maxReplicas"),
        "current": status.get("currentReplicas") or 0,
        "desired": status.get("desiredReplicas") or 0,
        "limited": conditions.get("ScalingLimited", {}).get("status") == "True",
        "active": active.get("status") != "False",
        "reason": active.get("reason", ""),
        "message": active.get("message", ""),
        "metrics": _metrics(spec, status),
    }


def _metrics(spec: Json, status: Json) -> Json:
    """Current value and target of each metric, by its name; a value that the autoscaler has not read is None."""
    found: dict[str, dict[str, float | None]] = {}
    for part, rows in (("target", spec.get("metrics")), ("current", status.get("currentMetrics"))):
        for row in rows or ():
            source: Json = row.get(f"{row['type'][:1].lower()}{row['type'][1:]}") or {}
            name = str(source.get("name") or (source.get("metric") or {}).get("name") or "")
            values: Json = source.get(part) or {}
            said = next((values[key] for key in _MEASURES if values.get(key) is not None), None)
            found.setdefault(name, {"target": None, "current": None})[part] = None if said is None else _number(said)
    return found


_MEASURES = ("averageUtilization", "averageValue", "value")
_SUFFIXES = {"n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30}


def _number(quantity: object) -> float:
    """A Kubernetes quantity as a number: ``1500m`` is 1.5."""
    text = str(quantity)
    suffix = next((each for each in sorted(_SUFFIXES, key=len, reverse=True) if text.endswith(each)), "")
    return float(text.removesuffix(suffix)) * _SUFFIXES.get(suffix, 1.0)
