"""bad-rollout: a new revision that does not work: no such image, wrong arguments, too slow, unsafe, or garbage.

Of a Deployment, or of a Rollout of Argo's; ``harmless`` is the negative control, a revision that works as before.

Only fields of the pod template are written, so Kubernetes rolls it out as any other change. The undo writes back what
was there: the controller then scales the former ReplicaSet up again, which is what ``kubectl rollout undo`` does
(https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment).
"""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import Field, model_validator

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import fields, golden, revision, rollout_proof, workload
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.revision import How
from drillbook.model.experiment import Duration, Step
from drillbook.model.plan import BlastRadius, Permission, PlannedFault
from drillbook.model.undo import ObjectRef
from drillbook.targets import accelerators
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target

_NO_ENGINES = ("router", "gateway", "guardrail")


class BadRolloutStep(Step):
    """Roll out a revision of a role's Deployment that does not work, and roll back at the undo."""

    fault: Literal["bad-rollout"]
    role: str = "engine"
    how: How = "image"
    """``image``: none to pull. ``arguments``: an option that the program refuses. ``slow-start``: Ready only after
    ``delay``. ``slow``: no batching (``--max-num-seqs 1``): users queue. ``garbage``: random weights (``--load-format
    dummy``), which no health check sees. ``environment``: other variables (``env``), as of a gateway whose rails are
    off. ``harmless``: works as before, to see that nothing takes it back."""
    delay: Duration = Field(default=60.0, gt=0)
    """Of ``slow-start``, whole seconds: the ``initialDelaySeconds`` of the startup or readiness probe."""
    env: dict[str, str] = {}
    """Of ``environment``: the variables that the new revision has, by their names."""
    workload: str | None = Field(default=None, pattern=workload.NAME)
    """The Deployment's name, where the role has more than one."""
    container: str | None = None
    """The container to change; found by the stack's names otherwise."""

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if bool(self.env) != (self.how == "environment"):
            raise ValueError("`how: environment` and `env: {NAME: value}` belong together")
        return self


class BadRollout:
    """See the module."""

    name = "bad-rollout"
    summary = "roll out a revision that cannot start, is slow, answers garbage or is set up wrongly; undone by rollback"
    step = BadRolloutStep

    async def plan(self, step: BadRolloutStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods = await target.pods(step.role)
        ref, now = await workload.find(step.role, step.workload, pods, target, (workload.DEPLOYMENT, workload.ROLLOUT))
        _settled(ref, now)
        name = step.container or target.container({"metadata": now["metadata"], **_template(now)}, step.role)
        options: dict[str, object] = {"how": step.how, "delay": int(step.delay), "env": step.env}
        undo = revision.undo(ref, now, name, options)
        radius = _radius(step, now, pods, len(await target.pods("engine")))
        lost = f"at once {radius.pods} of {len(pods)} pods are taken away"
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"roll out {revision.words(options)} to {ref}: {lost}",
            targets=(ref,),
            calls=(fields.call(undo, now, "a new revision"),),
            undo=(undo,),
            undo_summary=f"the former template of {ref} (as `kubectl rollout undo`), while it is still ours",
            radius=radius,
            permissions=(
                *fields.permissions(ref),
                Permission(verb="list", group="", resource="pods", namespace=ref.namespace),
            ),
            container=name,
            options=options,
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        now = await fields.current(ref, target)
        try:
            _settled(ref, now)
            undo = revision.undo(ref, now, planned.container, planned.options)
        except PreflightError as error:
            raise RefusedError(error.message, error.hint) from error
        answer = await golden.ask(target) if planned.options["how"] == "garbage" else ""
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"{ref} has a new revision{doubt}", undo=(undo,), seen={"answer": answer, "since": {}})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        return await rollout_proof.seen(planned, injected, target, seconds)


def _template(now: Json) -> Json:
    return {"spec": now["spec"]["template"]["spec"]}


def _settled(ref: ObjectRef, now: Json) -> None:
    """A rollout into another one could not be told apart from it, nor undone alone."""
    status, wanted = now.get("status", {}), int(now["spec"].get("replicas", 1))
    if now["spec"].get("paused"):
        raise UnsupportedError(f"{ref} is paused: nothing is rolled out", hint="kubectl rollout resume")
    if wanted == 0:
        raise PreflightError(f"{ref} has no replicas: nothing would be rolled out")
    if status.get("updatedReplicas", 0) != wanted or status.get("replicas", 0) != wanted:
        raise PreflightError(f"{ref} is in the middle of a rollout", hint="kubectl rollout status; try again after it")


def _radius(step: BadRolloutStep, now: Json, pods: Objects, engines: int) -> BlastRadius:
    """The pods that Kubernetes may take away before a new one is Ready: ``maxUnavailable``, a share rounded down."""
    wanted = int(now["spec"].get("replicas", 1))
    strategy = now["spec"].get("strategy") or {}
    most = (strategy.get("rollingUpdate") or strategy.get("canary") or {}).get("maxUnavailable", "25%")
    lost = math.floor(wanted * int(most[:-1]) / 100) if isinstance(most, str) and most.endswith("%") else int(most)
    if step.how == "garbage" or strategy.get("type") == "Recreate":
        lost = wanted
    each = accelerators.count(pods[0]) if pods else 0
    makes_tokens = step.role not in _NO_ENGINES and engines
    left = max(0.0, 1 - lost / engines) if makes_tokens else 1.0
    return BlastRadius(pods=lost, gpus=lost * each, role_total=len(pods), capacity_left=left)


FAULT: Fault = BadRollout()
