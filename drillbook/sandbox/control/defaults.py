"""The defaults that the API server fills in and clients then rely on."""

from __future__ import annotations

from collections.abc import Callable

from drillbook.sandbox.control.objects import Json, dig

_PROBE_DEFAULTS = (("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3))
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


def apply_defaults(obj: Json, resource: str) -> None:
    """Fill in, in place, what the user of this resource left out."""
    default = _BY_RESOURCE.get(resource)
    if default is not None:
        default(obj)


def _omit_empty(row: Json) -> None:
    """Leave out what is null or an empty list: else a template that lost its last ``env`` would seem another one."""
    for field in [field for field, value in row.items() if value is None or value == []]:
        del row[field]


def pod_spec(spec: Json) -> None:
    _omit_empty(spec)
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    for container in [*(spec.get("containers") or []), *(spec.get("initContainers") or [])]:
        _container(container)
    for volume in spec.get("volumes") or []:
        for source in ("configMap", "secret", "downwardAPI", "projected"):
            if isinstance(volume.get(source), dict):
                volume[source].setdefault("defaultMode", 420)


def _container(container: Json) -> None:
    _omit_empty(container)
    image = str(container.get("image", ""))
    latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
    container.setdefault("imagePullPolicy", "Always" if latest and "@" not in image else "IfNotPresent")
    container.setdefault("terminationMessagePath", "/dev/termination-log")
    container.setdefault("terminationMessagePolicy", "File")
    resources = container.setdefault("resources", {})
    if resources.get("limits"):
        resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
    for port in container.get("ports") or []:
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or []:
        reference = dig(variable, "valueFrom", "fieldRef")
        if isinstance(reference, dict):
            reference.setdefault("apiVersion", "v1")
    for name in _PROBES:
        if isinstance(container.get(name), dict):
            _probe(container[name])
    for name in ("postStart", "preStop"):
        _http_get(dig(container, "lifecycle", name, "httpGet"))


def _probe(probe: Json) -> None:
    for field, value in _PROBE_DEFAULTS:
        if not probe.get(field):
            probe[field] = value
    _http_get(probe.get("httpGet"))


def _http_get(action: Json | None) -> None:
    if isinstance(action, dict):
        action.setdefault("path", "/")
        action.setdefault("scheme", "HTTP")


def _template(spec: Json) -> None:
    template = spec.get("template")
    if isinstance(template, dict):
        template.setdefault("metadata", {}).setdefault("creationTimestamp", None)
        if isinstance(template.get("spec"), dict):
            pod_spec(template["spec"])


def _pod(obj: Json) -> None:
    spec = obj["spec"]
    pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    if not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"] = "default"
    spec.setdefault("priority", 0)
    spec.setdefault("preemptionPolicy", "PreemptLowerPriority")


def _deployment(obj: Json) -> None:
    spec = obj["spec"]
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    strategy = spec.setdefault("strategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate") or {}
        strategy["rollingUpdate"] = {"maxUnavailable": "25%", "maxSurge": "25%"} | rolling
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)
    _template(spec)


def _replica_set(obj: Json) -> None:
    if obj["spec"].get("replicas") is None:
        obj["spec"]["replicas"] = 1
    _template(obj["spec"])


def _stateful_set(obj: Json) -> None:
    spec = obj["spec"]
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    spec.setdefault("podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"partition": 0} | (strategy.get("rollingUpdate") or {})
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"})
    _template(spec)


def _daemon_set(obj: Json) -> None:
    spec = obj["spec"]
    strategy = spec.setdefault("updateStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxUnavailable": 1, "maxSurge": 0} | (strategy.get("rollingUpdate") or {})
    spec.setdefault("revisionHistoryLimit", 10)
    _template(spec)


def _job(obj: Json) -> None:
    spec = obj["spec"]
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("completions") is None and obj["spec"]["parallelism"] == 1:
        spec["completions"] = 1
    _template(spec)


def _service(obj: Json) -> None:
    spec = obj["spec"]
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    spec.setdefault("internalTrafficPolicy", "Cluster")
    for port in spec.get("ports") or []:
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))


def _autoscaler(obj: Json) -> None:
    spec = obj["spec"]
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if not spec.get("metrics"):
        spec["metrics"] = [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
            }
        ]


def _leader_worker_set(obj: Json) -> None:
    spec = obj["spec"]
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    groups = spec.setdefault("leaderWorkerTemplate", {})
    groups.setdefault("size", 1)
    groups.setdefault("restartPolicy", "RecreateGroupOnPodRestart")
    spec.setdefault("startupPolicy", "LeaderCreated")
    strategy = spec.setdefault("rolloutStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    rolling = strategy.get("rollingUpdateConfiguration") or {}
    strategy["rollingUpdateConfiguration"] = {"partition": 0, "maxUnavailable": 1, "maxSurge": 0} | rolling
    for name in ("leaderTemplate", "workerTemplate"):
        if isinstance(dig(groups, name, "spec"), dict):
            pod_spec(groups[name]["spec"])


def _rollout(obj: Json) -> None:
    spec = obj["spec"]
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    if isinstance(dig(spec, "template", "spec"), dict):
        pod_spec(spec["template"]["spec"])


def _secret(obj: Json) -> None:
    obj.setdefault("type", "Opaque")


_BY_RESOURCE: dict[str, Callable[[Json], None]] = {
    "pods": _pod, "services": _service, "secrets": _secret, "deployments.apps": _deployment,
    "replicasets.apps": _replica_set, "statefulsets.apps": _stateful_set, "daemonsets.apps": _daemon_set,
    "jobs.batch": _job, "horizontalpodautoscalers.autoscaling": _autoscaler,
    "leaderworkersets.leaderworkerset.x-k8s.io": _leader_worker_set, "rollouts.argoproj.io": _rollout,
}  # fmt: skip
