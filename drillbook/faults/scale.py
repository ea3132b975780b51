"""scale: set the replicas of a role's workload, as a mistyped command or a wrong autoscaler would.

The undo puts the former number back, but only while the field still holds what we wrote: an HPA that has changed it
since is left its way (the undo ends as *superseded*).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from drillbook.errors import PreflightError, RefusedError
from drillbook.faults import fields, proof, workload
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.gangs import runs
from drillbook.model.experiment import Step
from drillbook.model.plan import BlastRadius, PlannedFault
from drillbook.targets import accelerators, paths
from drillbook.targets.target import Target

FIELD = ("spec", "replicas")


class ScaleStep(Step):
    """Set ``spec.replicas`` of the Deployment, StatefulSet or LeaderWorkerSet behind a role."""

    fault: Literal["scale"]
    role: str = "engine"
    workload: str | None = Field(default=None, pattern=workload.NAME)
    """The workload's name, where the role has more than one."""
    replicas: int = Field(ge=0, le=10_000, examples=[1])


class Scale:
    """See the module."""

    name = "scale"
    summary = (
        "set the replicas of a Deployment, StatefulSet or LeaderWorkerSet; undone unless someone else changed them"
    )
    step = ScaleStep

    async def plan(self, step: ScaleStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods = await target.pods(step.role)
        ref, now = await workload.find(step.role, step.workload, pods, target)
        before = int(now["spec"].get("replicas", 1))
        if before == step.replicas:
            raise PreflightError(
                f"step {index} (scale): {ref} has {before} replicas already", hint="choose another number"
            )
        running = [pod for pod in pods if runs(pod)]
        gone = max(0, before - step.replicas) * max(1, round(len(running) / before)) if before else 0
        each = accelerators.count(running[0]) if running else 0
        engines = max(len(await target.pods("engine")), 1)
        left = max(0.0, 1 - gone / engines) if step.role != "router" else 1.0
        undo = fields.undo(ref, now, {FIELD: step.replicas})
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"scale {ref} from {before} to {step.replicas} replicas",
            targets=(ref,),
            calls=(fields.call(undo, now, "scale"),),
            undo=(undo,),
            undo_summary=f"spec.replicas back to {before}, while it is still {step.replicas}",
            radius=BlastRadius(pods=gone, gpus=gone * each, role_total=len(pods), capacity_left=left),
            permissions=fields.permissions(ref),
            options={"replicas": step.replicas},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        now = await fields.current(ref, target)
        replicas = int(str(planned.options["replicas"]))
        before = int(now["spec"].get("replicas", 1))
        if before == replicas:
            raise RefusedError(f"{ref} had {replicas} replicas already before the fault")
        undo = fields.undo(ref, now, {FIELD: replicas})
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"{ref} scaled from {before} to {replicas}{doubt}", undo=(undo,))

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        (ref,) = planned.targets
        wanted = int(str(planned.options["replicas"]))

        async def look() -> Bite:
            now = await target.kube.find(paths.of(ref)) or {}
            asked = now.get("spec", {}).get("replicas")
            there = now.get("status", {}).get("replicas", 0)
            return Bite(asked == wanted == there, f"{ref} has {there} pods, asked for {asked}")

        return await proof.until(look, seconds)


FAULT: Fault = Scale()
