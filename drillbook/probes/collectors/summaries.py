"""What is kept of a Kubernetes object: just what reports and clocks read. From plain JSON, or its metadata alone."""

from __future__ import annotations

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
        case _:
            return workload(obj)


def pod(obj: Json) -> Json:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
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
    """Deployments, StatefulSets and LeaderWorkerSets: unset replicas mean one."""
    spec, status = obj.get("spec"), obj.get("status") or {}
    return {
        "desired": None if spec is None else spec.get("replicas", 1),
        "ready": status.get("readyReplicas") or 0,
        "updated": status.get("updatedReplicas") or 0,
        "available": status.get("availableReplicas") or 0,
    }


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
    conditions = status.get("conditions") or ()
    return {
        "target": f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}",
        "min": spec.get("minReplicas", 1),
        "max": spec.get("maxReplicas"),
        "current": status.get("currentReplicas") or 0,
        "desired": status.get("desiredReplicas") or 0,
        "limited": any(each.get("type") == "ScalingLimited" and each.get("status") == "True" for each in conditions),
        "active": not any(each.get("type") == "ScalingActive" and each.get("status") == "False" for each in conditions),
    }
