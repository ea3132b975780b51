"""A pod's row in ``kubectl get pods``: the STATUS column sums up what phase and containers say."""

from __future__ import annotations

from typing import Any

from drillbook.sandbox.control import times
from drillbook.sandbox.control.objects import Json, condition_of, dig, is_condition_true, is_deleting

_NONE = "<none>"


def pod_cells(pod: Json) -> list[Any]:
    """Ready, Status, Restarts, Age, IP, Node, Nominated Node, Readiness Gates."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    ready = sum(1 for row in containers if row.get("ready") and "running" in (row.get("state") or {}))
    return [
        f"{ready}/{len(spec.get('containers') or [])}",
        pod_reason(pod),
        _restarts(status),
        times.age(dig(pod, "metadata", "creationTimestamp")),
        status.get("podIP") or _NONE,
        spec.get("nodeName") or _NONE,
        status.get("nominatedNodeName") or _NONE,
        _gates(pod),
    ]


def _restarts(status: Json) -> str:
    rows = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    count = sum(row.get("restartCount", 0) for row in status.get("containerStatuses") or [])
    ended = [dig(row, "lastState", "terminated", "finishedAt") for row in rows]
    last = max((text for text in ended if text), default="")
    return f"{count} ({times.age(last)} ago)" if count and last else str(count)


def _gates(pod: Json) -> str:
    gates = dig(pod, "spec", "readinessGates", default=[])
    true = sum(1 for gate in gates if is_condition_true(pod, gate["conditionType"]))
    return f"{true}/{len(gates)}" if gates else _NONE


def pod_reason(pod: Json) -> str:
    """The STATUS column: the worst news first."""
    status = pod.get("status") or {}
    reason = status.get("reason") or status.get("phase", "Unknown")
    if dig(condition_of(pod, "PodScheduled"), "reason") == "SchedulingGated":
        reason = "SchedulingGated"
    initialising, reason = _init_reason(pod, reason)
    if not initialising or is_condition_true(pod, "Initialized"):
        reason = _container_reason(status, reason, is_condition_true(pod, "Ready"))
    if is_deleting(pod):
        if status.get("reason") == "NodeLost":
            return "Unknown"
        return reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"
    return str(reason)


def _ended(state: Json) -> str:
    if state.get("reason"):
        return str(state["reason"])
    return f"Signal:{state['signal']}" if state.get("signal") else f"ExitCode:{state.get('exitCode', 0)}"


def _init_reason(pod: Json, reason: str) -> tuple[bool, str]:
    rows = dig(pod, "status", "initContainerStatuses", default=[])
    sidecars = {
        row["name"] for row in dig(pod, "spec", "initContainers", default=[]) if row.get("restartPolicy") == "Always"
    }
    for index, row in enumerate(rows):
        state = row.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting") or {}
        if (ended and ended.get("exitCode") == 0) or (row["name"] in sidecars and row.get("started")):
            continue
        if ended:
            return True, f"Init:{_ended(ended)}"
        if waiting.get("reason") not in (None, "", "PodInitializing"):
            return True, f"Init:{waiting['reason']}"
        return True, f"Init:{index}/{len(rows)}"
    return False, reason


def _container_reason(status: Json, reason: str, pod_ready: bool) -> str:
    running = False
    for row in reversed(status.get("containerStatuses") or []):
        state = row.get("state") or {}
        if dig(state, "waiting", "reason"):
            reason = state["waiting"]["reason"]
        elif "terminated" in state and state["terminated"] is not None:
            reason = _ended(state["terminated"])
        elif row.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        return "Running" if pod_ready else "NotReady"
    return reason
