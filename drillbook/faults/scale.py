"""scale: set the replicas of a role's workload, as a mistyped command or a wrong autoscaler would.

The undo puts the former number back, but only while the field still holds what we wrote: an HPA that has changed it
since is left its way (the undo ends as *superseded*).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from drillbook import clock
from drillbook.errors import PreflightError, RefusedError, UnreachableError, UnsupportedError
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike
from drillbook.faults.selection import runs
from drillbook.model.experiment import Step
from drillbook.model.plan import BlastRadius, Call, Permission, PlannedFault
from drillbook.model.undo import FieldChange, ObjectRef, RestoreFields
from drillbook.targets import accelerators, paths
from drillbook.targets.answers import ConflictError, InvalidError
from drillbook.targets.target import Target

LOOK_SECONDS = 0.2
FIELD = ("spec", "replicas")


@dataclass(frozen=True)
class Kind:
    """A kind that has ``spec.replicas``, and how it reports them."""

    api_version: str
    kind: str
    plural: str


KINDS = (
    Kind("apps/v1", "Deployment", "deployments"),
    Kind("apps/v1", "StatefulSet", "statefulsets"),
    Kind("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets"),
)


class ScaleStep(Step):
    """Set ``spec.replicas`` of the Deployment, StatefulSet or LeaderWorkerSet behind a role."""

    fault: Literal["scale"]
    role: str = "engine"
    workload: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")
    """The workload's name, where the role has more than one."""
    replicas: int = Field(ge=0, le=10_000)


class Scale:
    """See the module."""

    name = "scale"
    summary = (
        "set the replicas of a Deployment, StatefulSet or LeaderWorkerSet; undone unless someone else changed them"
    )
    step = ScaleStep

    async def plan(self, step: ScaleStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods = await target.pods(step.role)
        ref, workload = await _workload(step, pods, target)
        before = int(workload["spec"].get("replicas", 1))
        if before == step.replicas:
            raise PreflightError(
                f"step {index} (scale): {ref} has {before} replicas already", hint="choose another number"
            )
        running = [pod for pod in pods if runs(pod)]
        gone = max(0, before - step.replicas) * max(1, round(len(running) / before)) if before else 0
        each = accelerators.count(running[0]) if running else 0
        engines = max(len(await target.pods("engine")), 1)
        left = max(0.0, 1 - gone / engines) if step.role != "router" else 1.0
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"scale {ref} from {before} to {step.replicas} replicas",
            targets=(ref,),
            calls=(Call(verb="PATCH", path=paths.of(ref), body=str(_patch(ref, before, step.replicas)), why="scale"),),
            undo=(_undo(ref, workload, step.replicas),),
            undo_summary=f"spec.replicas back to {before}, while it is still {step.replicas}",
            radius=BlastRadius(pods=gone, gpus=gone * each, role_total=len(pods), capacity_left=left),
            permissions=tuple(
                Permission(
                    verb=verb, group=ref.api_version.partition("/")[0], resource=ref.plural, namespace=ref.namespace
                )
                for verb in ("get", "patch")
            ),
            options={"replicas": step.replicas},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        workload = await target.kube.find(paths.of(ref))
        if workload is None or workload["metadata"]["uid"] != ref.uid:
            raise RefusedError(f"{ref} was gone before the fault")
        replicas = int(str(planned.options["replicas"]))
        before = int(workload["spec"].get("replicas", 1))
        if before == replicas:
            raise RefusedError(f"{ref} had {replicas} replicas already before the fault")
        undo = (_undo(ref, workload, replicas),)
        await record(undo)
        try:
            doubt = await strike([target.kube.patch(paths.of(ref), _patch(ref, before, replicas), "json")])
        except (ConflictError, InvalidError) as error:
            raise RefusedError(f"{ref} was scaled by someone else at the same moment: {error}") from error
        return Injected(f"{ref} scaled from {before} to {replicas}{doubt}", undo=undo)

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        (ref,) = planned.targets
        wanted = int(str(planned.options["replicas"]))
        until = clock.monotonic() + seconds
        detail = ""
        while True:
            try:
                now = await target.kube.find(paths.of(ref)) or {}
                asked = now.get("spec", {}).get("replicas")
                there = now.get("status", {}).get("replicas", 0)
                detail = f"{ref} has {there} pods, asked for {asked}"
                if asked == wanted == there:
                    return Bite(True, detail)
            except UnreachableError as error:
                detail = str(error)
            if clock.monotonic() > until:
                return Bite(False, detail)
            await asyncio.sleep(LOOK_SECONDS)


def _undo(ref: ObjectRef, workload: dict[str, Any], wrote: int) -> RestoreFields:
    existed = "replicas" in workload["spec"]
    before = workload["spec"].get("replicas")
    return RestoreFields(object=ref, fields=(FieldChange(path=FIELD, existed=existed, before=before, wrote=wrote),))


def _patch(ref: ObjectRef, before: int, after: int) -> list[dict[str, Any]]:
    return [
        {"op": "test", "path": "/metadata/uid", "value": ref.uid},
        {"op": "test", "path": "/spec/replicas", "value": before},
        {"op": "replace", "path": "/spec/replicas", "value": after},
    ]


async def _workload(step: ScaleStep, pods: list[dict[str, Any]], target: Target) -> tuple[ObjectRef, dict[str, Any]]:
    """The one workload that owns the role's pods, through however many controllers."""
    found: dict[str, tuple[ObjectRef, dict[str, Any]]] = {}
    for kind in KINDS:
        place = paths.collection(kind.api_version, kind.plural, target.namespace)
        for name in {*_owners(pods, kind), *([step.workload] if step.workload else [])}:
            workload = await target.kube.find(f"{place}/{name}")
            if workload is not None and step.workload in (None, name):
                ref = paths.ref(workload, kind.plural, api_version=kind.api_version, kind=kind.kind)
                found[ref.uid] = (ref, workload)
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(str(ref) for ref, _ in found.values())
    raise UnsupportedError(
        f"the {step.role} pods belong to several workloads: {names}"
        if found
        else f"no Deployment, StatefulSet or LeaderWorkerSet of the {step.role} pods is found in {target.namespace}",
        hint="say which: workload: NAME",
    )


def _owners(pods: list[dict[str, Any]], kind: Kind) -> set[str]:
    """Names of the workloads of one kind that the pods' labels and owners speak of."""
    names = set()
    for pod in pods:
        marks = pod["metadata"].get("labels") or {}
        if kind.kind == "LeaderWorkerSet":
            names |= {marks.get("leaderworkerset.sigs.k8s.io/name", "")}
            continue
        for owner in pod["metadata"].get("ownerReferences") or []:
            if owner["kind"] == kind.kind:
                names.add(owner["name"])
            elif owner["kind"] == "ReplicaSet" and kind.kind == "Deployment":
                names.add(owner["name"].removesuffix("-" + marks.get("pod-template-hash", "")))
    return names - {""}


FAULT: Fault = Scale()
