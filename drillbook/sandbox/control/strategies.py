"""What each kind wants on its way into the store, beside plain defaults: initial status, admission, pinned fields."""

from __future__ import annotations

from drillbook.sandbox.control import crdstatus, defaults, lwsgroups, quantity, serviceaccounts
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, dig
from drillbook.sandbox.control.settings import Settings

_NOT_READY = "node.kubernetes.io/not-ready"
_UNREACHABLE = "node.kubernetes.io/unreachable"
_WITHOUT_GENERATION = frozenset({"", "coordination.k8s.io", "discovery.k8s.io", "metrics.k8s.io"})


def has_generation(kind: Kind) -> bool:
    """Whether ``metadata.generation`` counts this kind's changes of ``spec``."""
    return kind.group not in _WITHOUT_GENERATION


def prepare_create(kind: Kind, obj: Json, settings: Settings) -> None:
    """In place, after the metadata is set and before validation."""
    if "status" in kind.subresources and kind.resource not in ("nodes", "pods"):
        obj.pop("status", None)
    if has_generation(kind):
        obj["metadata"]["generation"] = 1
    if isinstance(obj.get("spec"), dict) or kind.resource == "secrets":
        defaults.apply_defaults(obj, kind.resource)
    if kind.resource == "pods":
        _admit_pod(obj, settings)
    elif kind.resource == "namespaces":
        obj["spec"] = {"finalizers": ["kubernetes"]}
        obj["status"] = {"phase": "Active"}
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
    elif kind.resource == "nodes":
        obj.setdefault("spec", {})
        obj.setdefault("status", {})
        obj["metadata"].setdefault("labels", {}).setdefault("kubernetes.io/hostname", obj["metadata"]["name"])
    elif kind.resource == "jobs.batch":
        _select_own_pods(obj)
    elif kind.resource == "customresourcedefinitions.apiextensions.k8s.io":
        obj["status"] = crdstatus.established(obj)
    elif kind.resource in ("services", "deployments.apps", "replicasets.apps"):
        obj["status"] = {"loadBalancer": {}} if kind.resource == "services" else {}


def _select_own_pods(job: Json) -> None:
    """A job finds its pods by its own uid."""
    template = dig(job, "spec", "template")
    if not isinstance(template, dict) or job["spec"].get("manualSelector"):
        return
    uid, name = job["metadata"]["uid"], job["metadata"]["name"]
    labels = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    template.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


def _admit_pod(pod: Json, settings: Settings) -> None:
    spec = pod.get("spec")
    if not isinstance(spec, dict):
        return
    lwsgroups.admit(pod)
    serviceaccounts.admit(spec)
    pod["status"] = {"phase": "Pending"}
    tolerations = spec.setdefault("tolerations", [])
    for taint in (_NOT_READY, _UNREACHABLE):
        tolerated = any(
            row.get("key") in (None, "", taint) and row.get("effect") in (None, "", "NoExecute") for row in tolerations
        )
        if not tolerated:
            tolerations.append(
                {
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": settings.default_toleration_seconds,
                }
            )


def qos_class(spec: Json) -> str:
    """Guaranteed, Burstable or BestEffort, from cpu and memory alone."""
    containers = [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]
    asked = False
    guaranteed = True
    for container in containers:
        resources = container.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name in ("cpu", "memory"):
            asked = asked or name in requests or name in limits
            same = name in limits and quantity.parse(requests.get(name, limits[name])) == quantity.parse(limits[name])
            guaranteed = guaranteed and same
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def prepare_update(kind: Kind, new: Json, old: Json, subresource: str) -> None:
    """In place: a status write changes only the status, any other write everything else."""
    if subresource == "status":
        for key in list(new):
            if key not in ("metadata", "status"):
                del new[key]
        new.update({key: value for key, value in old.items() if key not in ("metadata", "status")})
    elif "status" in kind.subresources and subresource != "binding":
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    if isinstance(new.get("spec"), dict):
        if kind.resource == "services":
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                if field in old["spec"] and not new["spec"].get(field):
                    new["spec"][field] = old["spec"][field]
        if kind.resource == "pods" and dig(old, "spec", "nodeName") and not new["spec"].get("nodeName"):
            new["spec"]["nodeName"] = old["spec"]["nodeName"]
    if subresource != "status" and isinstance(new.get("spec"), dict):
        defaults.apply_defaults(new, kind.resource)
    if has_generation(kind):
        generation = int(old["metadata"].get("generation", 1))
        changed = subresource != "status" and _desired(new) != _desired(old)
        new["metadata"]["generation"] = generation + 1 if changed else generation


def _desired(obj: Json) -> Json:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}
