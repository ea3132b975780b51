"""Which node a step hits, what runs on it, and what a taint would drive away."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from drillbook.errors import PreflightError
from drillbook.faults import fields, workload
from drillbook.faults.fault import Draw
from drillbook.faults.gangs import runs
from drillbook.model.experiment import Step
from drillbook.model.plan import BlastRadius, Call, Permission
from drillbook.model.undo import ObjectRef, RemoveItem
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError, InvalidError
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target
from drillbook.undo.operations import pointer, value_at

TAINTS = ("spec", "taints")
UNSCHEDULABLE = ("spec", "unschedulable")
UNTOUCHED = BlastRadius(pods=0, gpus=0, role_total=0, capacity_left=1.0)
"""Of a fault that takes no pod away by itself."""
Effect = Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]


class NodeStep(Step):
    """A step that hits one node."""

    role: str = "engine"
    """A node that runs pods of this role is chosen by the run's seed …"""
    node: str | None = Field(default=None, pattern=workload.NAME)
    """… or this very one."""


@dataclass(frozen=True)
class Place:
    """One node and the target's pods on it; DaemonSets' and static pods, which belong to the node, are left out."""

    ref: ObjectRef
    obj: Json
    pods: Objects


async def choose(step: NodeStep, index: int, target: Target, draw: Draw) -> Place:
    """The node, as the plan found it.

    :raises PreflightError: no such node, or none that runs pods of the role.
    """
    everything = [pod for pod in await target.everything() if runs(pod)]
    name = step.node
    if name is None:
        candidates = [pod for pod in await target.pods(step.role) if runs(pod)]
        if not candidates:
            raise PreflightError(
                f"step {index} ({step.fault}): no {step.role} pod runs in namespace {target.namespace}",
                hint="say which: node: NAME",
            )
        name = str(draw.choose(candidates, 1, f"{index}")[0]["spec"]["nodeName"])
    obj = await target.kube.find(f"/api/v1/nodes/{name}")
    if obj is None:
        raise PreflightError(f"step {index} ({step.fault}): there is no node {name}", hint="kubectl get nodes")
    pods = [pod for pod in everything if pod["spec"].get("nodeName") == name and not stays(pod)]
    draw.take(pods)
    return Place(paths.ref(obj, "nodes", api_version="v1", kind="Node"), obj, sorted(pods, key=_name))


def stays(pod: Json) -> bool:
    """Whether a drain leaves the pod alone: a DaemonSet's, a static one, or one that has ended."""
    owners = {owner["kind"] for owner in pod["metadata"].get("ownerReferences") or []}
    static = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    return "DaemonSet" in owners or static or pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


async def strangers(place: Place, target: Target) -> Objects:
    """Pods of other namespaces on the node, without those that a drain leaves alone.

    :raises RefusedError: pods of other namespaces may not be listed.
    """
    found = await target.kube.list("/api/v1/pods", fields=f"spec.nodeName={place.ref.name}")
    return [pod for pod in found if pod["metadata"]["namespace"] != target.namespace and not stays(pod)]


def driven_away(pods: Objects, taint: dict[str, str]) -> Objects:
    """Those that a NoExecute taint ends at once: they do not tolerate it, for however short a time."""
    return [pod for pod in pods if not any(_tolerates(row, taint) for row in pod["spec"].get("tolerations") or [])]


def _tolerates(row: dict[str, Any], taint: dict[str, str]) -> bool:
    """https://kubernetes.io/docs/concepts/scheduling-eviction/taint-and-toleration/."""
    if row.get("effect") not in (None, "", taint["effect"]):
        return False
    if not row.get("key"):
        return row.get("operator") == "Exists"
    same = row["key"] == taint["key"]
    return same and (row.get("operator") == "Exists" or row.get("value", "") == taint.get("value", ""))


async def put_taint(ref: ObjectRef, taint: dict[str, str], target: Target) -> None:
    """Add the taint to those that are there.

    :raises RefusedError: the node changes too fast, is gone, or has this taint already.
    """
    for attempt in range(5):
        now = await fields.current(ref, target)
        has, _ = value_at(now, TAINTS)
        patch: Objects = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": now["metadata"]["resourceVersion"]},
            *([] if has else [{"op": "add", "path": pointer(TAINTS), "value": []}]),
            {"op": "add", "path": f"{pointer(TAINTS)}/-", "value": taint},
        ]
        try:
            await target.kube.patch(paths.of(ref), patch, "json")
        except (ConflictError, InvalidError):  # the kubelet or a controller wrote in between
            if attempt == 4:
                raise
        else:
            return


def has_taint(node: Json, taint: dict[str, str]) -> bool:
    """Whether the node has a taint of this key and effect."""
    rows = value_at(node, TAINTS)[1] or []
    return any((row["key"], row["effect"]) == (taint["key"], taint["effect"]) for row in rows)


def untaint(ref: ObjectRef, taint: dict[str, str]) -> RemoveItem:
    """The undo of a taint: ours goes, those of others stay."""
    return RemoveItem(object=ref, path=TAINTS, item=taint)


def taint_call(ref: ObjectRef, taint: dict[str, str]) -> Call:
    """The request as a plan shows it."""
    body = str([{"op": "add", "path": f"{pointer(TAINTS)}/-", "value": taint}])
    return Call(verb="PATCH", path=paths.of(ref), body=body, why=f"taint {ref.name}")


def spoken(taint: dict[str, str]) -> str:
    """As kubectl writes it."""
    return f"{taint['key']}{'=' + taint['value'] if taint.get('value') else ''}:{taint['effect']}"


def all_pods() -> tuple[Permission, ...]:
    """To see whom else a node's end would hit."""
    return (Permission(verb="list", group="", resource="pods", namespace="*"),)


def _name(pod: Json) -> str:
    return str(pod["metadata"]["name"])
