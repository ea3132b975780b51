"""A pod's phase and conditions, computed from its containers as the kubelet computes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from drillbook.sandbox.node.api import Json

OWN_CONDITIONS = ("Initialized", "Ready", "ContainersReady", "PodScheduled")


def phase(spec: Json, init: Sequence[Json], main: Sequence[Json], *, over: bool) -> str:
    """``Pending``, ``Running``, ``Succeeded`` or ``Failed``. ``over``: nothing will be started any more.

    After ``getPhase`` of the kubelet: a container in back-off counts as stopped, one that never ran as waiting.
    """
    policy = spec.get("restartPolicy") or "Always"
    if not _initialized(spec, init):
        failed = any(_code(row) not in (None, 0) for row in init)
        return "Failed" if failed and (policy == "Never" or over) else "Failed" if over else "Pending"
    running = sum("running" in row["state"] for row in main)
    waiting = sum("waiting" in row["state"] and not row["lastState"] for row in main)
    codes = [_code(row) for row in main if "running" not in row["state"]]
    if over and not running:
        return "Succeeded" if main and all(code == 0 for code in codes) else "Failed"
    if waiting:
        return "Pending"
    if running or policy == "Always":
        return "Running"
    if all(code == 0 for code in codes):
        return "Succeeded"
    return "Failed" if policy == "Never" else "Running"


def conditions(pod: Json, phase: str, init: Sequence[Json], main: Sequence[Json], before: Mapping[str, Json],
               now: str) -> list[Json]:  # fmt: skip
    """The kubelet's conditions; each keeps its ``lastTransitionTime`` (of ``before``) while its status holds."""
    spec = pod["spec"]
    waiting = [row["name"] for row in init if not _done(spec, row)]
    unready = [row["name"] for row in main if not row["ready"]]
    initialized: Json = {"status": "True"}
    if waiting:
        initialized = _no("ContainersNotInitialized", f"containers with incomplete status: {_names(waiting)}")
    if phase == "Succeeded":
        initialized = {"status": "True", "reason": "PodCompleted"}
        ready = containers = {"status": "False", "reason": "PodCompleted"}
    elif phase == "Failed":
        ready = containers = {"status": "False", "reason": "PodFailed"}
    elif unready or not main:
        ready = containers = _no("ContainersNotReady", f"containers with unready status: {_names(unready)}")
    else:
        containers = {"status": "True"}
        ready = _gates(pod) or {"status": "True"}
    scheduled = {"status": "True"}
    rows = {"Initialized": initialized, "Ready": ready, "ContainersReady": containers, "PodScheduled": scheduled}
    result = []
    for kind, row in rows.items():
        old = before.get(kind, {})
        same = old.get("status") == row["status"]
        since = old.get("lastTransitionTime", now) if same else now
        absent = {"lastProbeTime": None, "reason": None, "message": None}  # null removes what an earlier patch said
        result.append({"type": kind, "lastTransitionTime": since, **absent, **row})
    return result


def _gates(pod: Json) -> Json | None:
    """Ready is False while a readiness gate's condition is not True."""
    met = {row["type"] for row in pod.get("status", {}).get("conditions", []) if row["status"] == "True"}
    gates = [row["conditionType"] for row in pod["spec"].get("readinessGates") or []]
    missing = [gate for gate in gates if gate not in met]
    if not missing:
        return None
    return _no("ReadinessGatesNotReady", f'the status of pod readiness gate "{missing[0]}" is not "True", but False')


def _done(spec: Json, row: Json) -> bool:
    """Whether an init container lets the pod go on: it succeeded, or as a sidecar it has started."""
    definition: Json = next((one for one in spec.get("initContainers") or [] if one["name"] == row["name"]), {})
    if definition.get("restartPolicy") == "Always":
        return bool(row["started"]) or bool(row["lastState"]) or "terminated" in row["state"]
    return _code(row) == 0


def _initialized(spec: Json, init: Iterable[Json]) -> bool:
    return all(_done(spec, row) for row in init)


def _code(row: Json) -> int | None:
    state = row["state"].get("terminated") or row["lastState"].get("terminated") or {}
    code: int | None = state.get("exitCode")
    return code


def _no(reason: str, message: str) -> Json:
    return {"status": "False", "reason": reason, "message": message}


def _names(names: Iterable[str]) -> str:
    return f"[{' '.join(names)}]"
