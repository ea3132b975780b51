"""A Deployment's status: its counts, and the Available and Progressing conditions with their deadline."""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import rollouts
from drillbook.sandbox.control.objects import Json, condition_of, copy, dig, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry

_RESOURCE = "deployments.apps"
_NO_DEADLINE = 2**31 - 1
DONE, LATE = "NewReplicaSetAvailable", "ProgressDeadlineExceeded"


def _set_condition(status: Json, kind: str, value: str, reason: str, message: str, *, renew: bool = False) -> None:
    """In place. ``renew`` moves ``lastUpdateTime``, from which the deadline counts, even where nothing else changes."""
    rows = status.setdefault("conditions", [])
    before = next((row for row in rows if row["type"] == kind), None)
    if before is not None and (before["status"], before["reason"]) == (value, reason) and not renew:
        return
    now = times.stamp()
    moved = before["lastTransitionTime"] if before is not None and before["status"] == value else now
    after = {
        "type": kind,
        "status": value,
        "lastUpdateTime": now,
        "lastTransitionTime": moved,
        "reason": reason,
        "message": message,
    }
    status["conditions"] = [row for row in rows if row["type"] != kind] + [after]


def _store(registry: Registry, deployment: Json, status: Json) -> Json:
    if status == deployment.get("status"):
        return deployment
    return registry.modify(
        registry.kinds.of_resource(_RESOURCE),
        namespace_of(deployment),
        name_of(deployment),
        lambda fresh: fresh.update(status=status),
        "status",
    ).obj


def note(registry: Registry, deployment: Json, value: str, reason: str, message: str) -> Json:
    """Set the Progressing condition: the deployment as it then is. Raises ApiError."""
    status = copy(deployment.get("status") or {})
    _set_condition(status, "Progressing", value, reason, message, renew=True)
    return _store(registry, deployment, status)


def note_pause(registry: Registry, deployment: Json) -> Json:
    """A pause stops the clock of the deadline, and resuming starts it anew. Raises ApiError."""
    reason = (condition_of(deployment, "Progressing") or {}).get("reason")
    paused = bool(deployment["spec"].get("paused"))
    if reason == LATE:
        return deployment
    if paused and reason != "DeploymentPaused":
        return note(registry, deployment, "Unknown", "DeploymentPaused", "Deployment is paused")
    if not paused and reason == "DeploymentPaused":
        return note(registry, deployment, "Unknown", "DeploymentResumed", "Deployment is resumed")
    return deployment


def _counts(deployment: Json, sets: list[Json], newest: Json | None) -> Json:
    available = rollouts.status_sum(sets, "availableReplicas")
    counts = {
        "replicas": rollouts.status_sum(sets, "replicas"),
        "updatedReplicas": rollouts.status_sum([newest] if newest else [], "replicas"),
        "readyReplicas": rollouts.status_sum(sets, "readyReplicas"),
        "availableReplicas": available,
        "unavailableReplicas": max(0, rollouts.total(sets) - available),
    }
    status: Json = {key: value for key, value in counts.items() if value}
    status["observedGeneration"] = deployment["metadata"].get("generation", 1)
    for field in ("collisionCount", "conditions"):
        if dig(deployment, "status", field) is not None:
            status[field] = copy({"value": deployment["status"][field]})["value"]
    return status


def write_status(registry: Registry, deployment: Json, sets: list[Json], newest: Json | None) -> float | None:
    """Seconds until the deadline has to be looked at, if it has. Raises ApiError."""
    status = _counts(deployment, sets, newest)
    before: Json = deployment.get("status") or {}
    wanted = rollouts.replicas(deployment)
    if status.get("availableReplicas", 0) >= wanted - rollouts.Budget.of(deployment).unavailable:
        _set_condition(status, "Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    else:
        _set_condition(
            status, "Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability."
        )
    again = _judge_progress(deployment, status, before, newest)
    _store(registry, deployment, status)
    return again


def _judge_progress(deployment: Json, status: Json, before: Json, newest: Json | None) -> float | None:
    """Change the Progressing condition of ``status``, in place; seconds until the deadline, if it runs."""
    deadline = int(deployment["spec"].get("progressDeadlineSeconds", 600))
    current = condition_of(deployment, "Progressing")
    what = f'ReplicaSet "{name_of(newest)}"' if newest else f'Deployment "{name_of(deployment)}"'
    if deployment["spec"].get("paused") or deadline >= _NO_DEADLINE:
        return None
    done = (
        current is not None
        and current["reason"] == DONE
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
    )
    if done:
        return None
    if rollouts.is_complete(deployment, status) and newest is not None:
        _set_condition(status, "Progressing", "True", DONE, f"{what} has successfully progressed.")
        return None
    if rollouts.has_progressed(before, status):
        _set_condition(status, "Progressing", "True", "ReplicaSetUpdated", f"{what} is progressing.", renew=True)
        return float(deadline + 1)
    if current is None or current["reason"] in (DONE, LATE):
        return None
    left = times.parse(current["lastUpdateTime"]) + deadline - clock.wall()
    if left > 0:
        return left + 0.5
    _set_condition(status, "Progressing", "False", LATE, f"{what} has timed out progressing.")
    return None
