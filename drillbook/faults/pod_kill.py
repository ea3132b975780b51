"""pod-kill: delete pods, as a node loss, an eviction or an operator would. Their controller should replace them.

Nothing can bring the very pod back, so there is nothing to undo: that no replacement comes is for expectations to say.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from drillbook.errors import RefusedError
from drillbook.faults import proof
from drillbook.faults.evictions import gone
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike, unrestored
from drillbook.faults.gangs import runs
from drillbook.faults.selection import select
from drillbook.model.experiment import Duration, PodStep
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import ObjectRef
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError, NotFoundError
from drillbook.targets.target import Target


class PodKillStep(PodStep):
    """Delete pods by uid; a pod that is already on its way out is not hit, and the step says so."""

    held: ClassVar[bool] = False
    fault: Literal["pod-kill"]
    grace: Duration | None = None
    """Seconds between SIGTERM and SIGKILL, whole; the pod's own grace period without it. At least 1s unless forced."""
    force: bool = Field(default=False)
    """Grace 0: the API forgets the pod at once, and nobody waits for its processes to end."""

    @model_validator(mode="after")
    def _sensible(self) -> PodKillStep:
        if self.grace is not None and self.grace != int(self.grace):
            raise ValueError("grace is counted in whole seconds by Kubernetes: write 0s, 1s, 30s")
        if self.force and self.grace:
            raise ValueError("force means a grace of 0s: leave one of the two out")
        return self


class PodKill:
    """See the module."""

    name = "pod-kill"
    summary = "delete pods, with grace or by force"
    step = PodKillStep

    async def plan(self, step: PodKillStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods, radius = await select(step, index, target, draw)
        refs = tuple(map(paths.pod_ref, pods))
        grace = 0 if step.force else None if step.grace is None else int(step.grace)
        spoken = (
            "by force (grace 0s)" if grace == 0 else "with its own grace" if grace is None else f"with grace {grace}s"
        )
        return unrestored(
            step,
            index,
            summary=f"delete {len(refs)} of {radius.role_total} {step.role} pods {spoken}",
            targets=refs,
            calls=tuple(_call(ref, grace) for ref in refs),
            mended_by="the pods' controller replaces them",
            radius=radius,
            permissions=(
                Permission(verb="get", group="", resource="pods", namespace=target.namespace),
                Permission(verb="delete", group="", resource="pods", namespace=target.namespace),
            ),
            options={"grace": grace},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        found = {ref.uid: await target.kube.find(paths.of(ref)) for ref in planned.targets}
        for ref in planned.targets:
            _must_live(ref, found[ref.uid])
        graces = [_grace(planned, pod) for pod in found.values()]
        await record(())
        doubt = await strike(self._delete(ref, planned, target) for ref in planned.targets)
        return Injected(f"deleted {', '.join(ref.name for ref in planned.targets)}{doubt}", seen={"grace": max(graces)})

    async def _delete(self, ref: ObjectRef, planned: PlannedFault, target: Target) -> None:
        grace = planned.options.get("grace")
        try:
            await target.kube.delete(paths.of(ref), uid=ref.uid, grace=grace if isinstance(grace, int) else None)
        except (NotFoundError, ConflictError) as error:
            raise RefusedError(f"pod {ref.name} had gone before it could be deleted: {error}") from error

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        left = list(planned.targets)

        async def look() -> Bite:
            left[:] = [ref for ref in left if not await gone(ref, target)]
            if left:
                return Bite(False, f"{', '.join(ref.name for ref in left)} is still there")
            forced = " (by force: nobody waited for its processes)" if not injected.seen["grace"] else ""
            return Bite(True, f"{', '.join(ref.name for ref in planned.targets)} ended{forced}")

        return await proof.until(look, seconds + float(injected.seen["grace"]))


def _call(ref: ObjectRef, grace: int | None) -> Call:
    options = f', "gracePeriodSeconds": {grace}' if grace is not None else ""
    body = f'{{"preconditions": {{"uid": "{ref.uid}"}}{options}}}'
    return Call(verb="DELETE", path=paths.of(ref), body=body, why=f"end {ref.name}")


def _must_live(ref: ObjectRef, pod: dict[str, Any] | None) -> None:
    if pod is None or pod["metadata"]["uid"] != ref.uid:
        raise RefusedError(
            f"pod {ref.name} was already gone before the fault", hint="something else ended it: see events"
        )
    if not runs(pod):
        state = "terminating" if "deletionTimestamp" in pod["metadata"] else str(pod.get("status", {}).get("phase"))
        raise RefusedError(f"pod {ref.name} was already {state} before the fault")


def _grace(planned: PlannedFault, pod: dict[str, Any] | None) -> float:
    grace = planned.options.get("grace")
    return float(grace if isinstance(grace, int) else (pod or {})["spec"].get("terminationGracePeriodSeconds", 30))


FAULT: Fault = PodKill()
