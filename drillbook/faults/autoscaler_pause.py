"""autoscaler-pause: an autoscaler that cannot scale. An HPA gets min = max = now; KEDA gets its own annotation.

The load that comes then meets the replicas of the moment. The undo puts the bounds back, while they are still ours.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import fields, nodes, proof, workload
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.model.experiment import Step
from drillbook.model.plan import Permission, PlannedFault
from drillbook.model.undo import FieldChange, ObjectRef, RestoreFields
from drillbook.targets import paths
from drillbook.targets.answers import NotFoundError
from drillbook.targets.kube import Json
from drillbook.targets.target import Target

HPA = "autoscaling/v1"
"""Every version of Kubernetes serves it, and the bounds are the same in all versions."""
KEDA = "keda.sh/v1alpha1"
PAUSED = ("metadata", "annotations", "autoscaling.keda.sh/paused-replicas")
"""https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling"""
MIN, MAX = ("spec", "minReplicas"), ("spec", "maxReplicas")


class AutoscalerPauseStep(Step):
    """Keep the autoscaler of a role's workload from changing its replicas."""

    fault: Literal["autoscaler-pause"]
    role: str = "engine"
    workload: str | None = Field(default=None, pattern=workload.NAME)
    """The workload's name, where the role has more than one."""


class AutoscalerPause:
    """See the module."""

    name = "autoscaler-pause"
    summary = "freeze an HPA (min = max = now) or pause KEDA; undone unless someone else changed the bounds"
    step = AutoscalerPauseStep

    async def plan(self, step: AutoscalerPauseStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods = await target.pods(step.role)
        owner, scaled = await workload.find(step.role, step.workload, pods, target)
        ref, now = await _autoscaler(owner, target)
        replicas = int(scaled["spec"].get("replicas", 1))
        undo = _undo(ref, now, replicas)
        if not undo.fields:
            raise PreflightError(f"step {index} (autoscaler-pause): {ref} cannot scale {owner} as it is")
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"keep {ref} from scaling {owner}: {replicas} replicas stay",
            targets=(ref,),
            calls=(fields.call(undo, now, "pause"),),
            undo=(undo,),
            undo_summary="; ".join(map(_back, undo.fields)),
            radius=nodes.UNTOUCHED,
            permissions=(
                *fields.permissions(ref, "get", "list", "patch"),
                Permission(verb="get", group="apps", resource=owner.plural, namespace=target.namespace),
            ),
            options={"owner": paths.of(owner)},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        now = await fields.current(ref, target)
        scaled = await target.kube.get(str(planned.options["owner"]))
        replicas = int(scaled["spec"].get("replicas", 1))
        if replicas < 1:
            raise RefusedError("the workload was scaled to zero before the fault: an HPA does not scale it at all then")
        undo = _undo(ref, now, replicas)
        if not undo.fields:
            raise RefusedError(f"{ref} could not scale already before the fault")
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"{ref} holds {replicas} replicas{doubt}", undo=(undo,), seen={"replicas": replicas})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        (ref,) = planned.targets
        replicas = injected.seen["replicas"]

        async def look() -> Bite:
            now = await target.kube.get(paths.of(ref))
            status = now.get("status") or {}
            if ref.kind == "ScaledObject":
                rows = status.get("conditions") or []
                paused = any(row["type"] == "Paused" and row["status"] == "True" for row in rows)
                return Bite(paused, f"KEDA says {'' if paused else 'not '}that {ref} is paused")
            bounds = (now["spec"].get("minReplicas", 1), now["spec"]["maxReplicas"])
            wants = status.get("desiredReplicas", replicas)
            held = bounds == (replicas, replicas) and wants == replicas
            return Bite(held, f"{ref} has the bounds {bounds[0]} and {bounds[1]} and wants {wants} replicas")

        return await proof.until(look, seconds)


async def _autoscaler(owner: ObjectRef, target: Target) -> tuple[ObjectRef, Json]:
    """What scales the workload: KEDA's ScaledObject where it owns the HPA, else the HPA.

    :raises UnsupportedError: nothing does.
    """
    for hpa in await target.kube.list(paths.collection(HPA, "horizontalpodautoscalers", target.namespace)):
        aim = hpa["spec"]["scaleTargetRef"]
        if (aim["kind"], aim["name"]) != (owner.kind, owner.name):
            continue
        for each in hpa["metadata"].get("ownerReferences") or []:
            if each["kind"] == "ScaledObject":
                place = f"{paths.collection(KEDA, 'scaledobjects', target.namespace)}/{each['name']}"
                try:
                    found = await target.kube.get(place)
                except NotFoundError as error:
                    raise UnsupportedError(f"{each['name']}, which owns the HPA, is not found: {error}") from error
                return paths.ref(found, "scaledobjects", api_version=KEDA, kind="ScaledObject"), found
        ref = paths.ref(hpa, "horizontalpodautoscalers", api_version=HPA, kind="HorizontalPodAutoscaler")
        return ref, hpa
    raise UnsupportedError(
        f"no HorizontalPodAutoscaler scales {owner} in {target.namespace}",
        hint="autoscaler-pause needs one; `scale` sets the number of replicas itself",
    )


def _undo(ref: ObjectRef, now: Json, replicas: int) -> RestoreFields:
    wanted: dict[fields.Path, Any]
    wanted = {PAUSED: str(replicas)} if ref.kind == "ScaledObject" else {MIN: replicas, MAX: replicas}
    return fields.undo(ref, now, wanted)


def _back(field: FieldChange) -> str:
    name = str(field.path[-1])
    return f"{name} back to {field.before}" if field.existed else f"{name} removed"


FAULT: Fault = AutoscalerPause()
