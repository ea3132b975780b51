"""bad-rollout: a new revision that does not work: no such image, wrong arguments, too slow, or garbage.

Of a Deployment, or of a Rollout of Argo's; ``harmless`` is the negative control, a revision that works as before.

Only fields of the pod template are written, so Kubernetes rolls it out as any other change. The undo writes back what
was there: the controller then scales the former ReplicaSet up again, which is what ``kubectl rollout undo`` does
(https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-back-a-deployment).
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field

from drillbook import clock
from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import fields, golden, proof, workload
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.model.experiment import Duration, Step
from drillbook.model.plan import BlastRadius, Permission, PlannedFault
from drillbook.model.undo import ObjectRef, RestoreFields
from drillbook.targets import accelerators, paths
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target
from drillbook.undo.operations import value_at

IMAGE = "registry.invalid/no-such-image:missing"
"""The top-level domain ``invalid`` never resolves (RFC 2606)."""
ARGUMENT = "--drillbook-no-such-option"
GARBAGE = "--load-format=dummy"
"""vLLM then fills the model with random weights: it starts, is Ready, and answers nonsense."""
ONE_BY_ONE = "--max-num-seqs=1"
"""vLLM then batches nothing: one alone is served as fast as ever, and many wait for one another."""
MARK = "drillbook.io/revision"
"""The label that is all that is new of a harmless revision."""
CANNOT_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
SLOW_SECONDS = 3.0
"""How long a new pod must be seen running and not Ready to count as slow."""
START_SECONDS = 180.0
"""How long a model may load before its garbage must be seen; the studies in the docs have 60 s for small ones."""
TEMPLATE = ("spec", "template", "spec", "containers")
How = Literal["image", "arguments", "slow-start", "slow", "garbage", "harmless"]


class BadRolloutStep(Step):
    """Roll out a revision of a role's Deployment that does not work, and roll back at the undo."""

    fault: Literal["bad-rollout"]
    role: str = "engine"
    how: How = "image"
    """``image``: none to pull. ``arguments``: an option that the program refuses. ``slow-start``: Ready only after
    ``delay``. ``slow``: no batching (``--max-num-seqs 1``): users queue. ``garbage``: random weights (``--load-format
    dummy``), which no health check sees. ``harmless``: works as before, to see that nothing takes it back."""
    delay: Duration = Field(default=60.0, gt=0)
    """Of ``slow-start``, whole seconds: the ``initialDelaySeconds`` of the startup or readiness probe."""
    workload: str | None = Field(default=None, pattern=workload.NAME)
    """The Deployment's name, where the role has more than one."""
    container: str | None = None
    """The container to change; found by the stack's names otherwise."""


class BadRollout:
    """See the module."""

    name = "bad-rollout"
    summary = "roll out an image that cannot be pulled, wrong arguments, a slow start or garbage; undone by rollback"
    step = BadRolloutStep

    async def plan(self, step: BadRolloutStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods = await target.pods(step.role)
        ref, now = await workload.find(step.role, step.workload, pods, target, (workload.DEPLOYMENT, workload.ROLLOUT))
        _settled(ref, now)
        name = step.container or target.container({"metadata": now["metadata"], **_template(now)}, step.role)
        undo = _undo(ref, now, name, step.how, int(step.delay))
        radius = _radius(step, now, pods, len(await target.pods("engine")))
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"roll out {_words(step)} to {ref}: at once {radius.pods} of {len(pods)} pods are taken away",
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
            options={"how": step.how, "delay": int(step.delay)},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        now = await fields.current(ref, target)
        how: Any = planned.options["how"]
        try:
            _settled(ref, now)
            undo = _undo(ref, now, planned.container, how, int(str(planned.options["delay"])))
        except PreflightError as error:
            raise RefusedError(error.message, error.hint) from error
        answer = await golden.ask(target) if how == "garbage" else ""
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"{ref} has a new revision{doubt}", undo=(undo,), seen={"answer": answer, "since": {}})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        (undo,) = injected.undo
        assert isinstance(undo, RestoreFields)

        async def look() -> Bite:
            pods = [pod for pod in await target.kube.list(paths.pods(undo.object.namespace)) if _is_new(pod, undo)]
            if not pods:
                return Bite(False, f"no pod of the new revision of {undo.object} is seen")
            match planned.options["how"]:
                case "image":
                    return _waiting(pods, planned.container)
                case "arguments":
                    return _ending(pods, planned.container)
                case "slow-start":
                    return _slow(pods, injected.seen["since"])
                case "slow" | "harmless":
                    return _ready(pods)
                case _:
                    return await golden.differs(target, injected.seen["answer"])

        more = START_SECONDS if planned.options["how"] == "garbage" else 0.0
        return await proof.until(look, seconds + more)


def _words(step: BadRolloutStep) -> str:
    return {
        "image": f"the image {IMAGE}",
        "arguments": f"the argument {ARGUMENT}",
        "slow-start": f"a start of {step.delay:.0f} s",
        "slow": f"a revision that batches nothing ({ONE_BY_ONE})",
        "garbage": f"random weights ({GARBAGE})",
        "harmless": f"a revision that differs in nothing but a label ({MARK})",
    }[step.how]


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


def _undo(ref: ObjectRef, now: Json, name: str, how: How, delay: int) -> RestoreFields:
    """What to put back.

    :raises UnsupportedError: this container gives no hold for it.
    """
    containers = now["spec"]["template"]["spec"]["containers"]
    place = next((number for number, each in enumerate(containers) if each["name"] == name), None)
    if place is None:
        raise UnsupportedError(f"{ref} has no container {name}", hint=", ".join(each["name"] for each in containers))
    container, path = containers[place], (*TEMPLATE, place)
    if how == "image":
        return fields.undo(ref, now, {(*path, "image"): IMAGE})
    if how == "harmless":
        labels = now["spec"]["template"]["metadata"]["labels"]
        mark = ("spec", "template", "metadata", "labels", MARK)
        return fields.undo(ref, now, {mark: str(int(labels.get(MARK, 0)) + 1)})
    if how == "slow-start":
        probe = next((each for each in ("startupProbe", "readinessProbe") if each in container), None)
        if probe is None:
            raise UnsupportedError(
                f"container {name} of {ref} has neither a startup nor a readiness probe: it is Ready at once",
                hint="how: image or how: arguments",
            )
        return fields.undo(ref, now, {(*path, probe, "initialDelaySeconds"): delay})
    command = [str(word) for word in container.get("command") or ()]
    if "-c" in command and command[0].rpartition("/")[2] in ("sh", "bash", "dash", "ash"):
        raise UnsupportedError(
            f"container {name} of {ref} runs a shell script: arguments would not reach the program",
            hint="how: image or how: slow-start",
        )
    added = {"garbage": GARBAGE, "slow": ONE_BY_ONE}.get(how, ARGUMENT)
    return fields.undo(ref, now, {(*path, "args"): [*(container.get("args") or ()), added]})


def _radius(step: BadRolloutStep, now: Json, pods: Objects, engines: int) -> BlastRadius:
    """The pods that Kubernetes may take away before a new one is Ready: ``maxUnavailable``, a share rounded down."""
    wanted = int(now["spec"].get("replicas", 1))
    strategy = now["spec"].get("strategy") or {}
    most = (strategy.get("rollingUpdate") or strategy.get("canary") or {}).get("maxUnavailable", "25%")
    lost = math.floor(wanted * int(most[:-1]) / 100) if isinstance(most, str) and most.endswith("%") else int(most)
    if step.how == "garbage" or strategy.get("type") == "Recreate":
        lost = wanted
    each = accelerators.count(pods[0]) if pods else 0
    makes_tokens = step.role != "router" and engines
    left = max(0.0, 1 - lost / engines) if makes_tokens else 1.0
    return BlastRadius(pods=lost, gpus=lost * each, role_total=len(pods), capacity_left=left)


def _is_new(pod: Json, undo: RestoreFields) -> bool:
    """Whether the pod was made from the template that we wrote."""
    return all(value_at(pod, field.path[2:]) == (True, field.wrote) for field in undo.fields)


def _states(pods: Objects, container: str) -> list[tuple[str, Json]]:
    return [
        (str(pod["metadata"]["name"]), status)
        for pod in pods
        for status in pod.get("status", {}).get("containerStatuses") or []
        if status["name"] == container
    ]


def _waiting(pods: Objects, container: str) -> Bite:
    for name, status in _states(pods, container):
        reason = ((status.get("state") or {}).get("waiting") or {}).get("reason", "")
        if reason in CANNOT_PULL:
            return Bite(True, f"{name} waits: {reason}")
    return Bite(False, f"{len(pods)} new pods, and none is seen to fail at its image")


def _ending(pods: Objects, container: str) -> Bite:
    for name, status in _states(pods, container):
        for state in (status.get("state") or {}, status.get("lastState") or {}):
            if ended := state.get("terminated"):
                return Bite(True, f"{name} ended with exit code {ended.get('exitCode')}: {ended.get('reason', '')}")
    return Bite(False, f"{len(pods)} new pods, and none has ended")


def _ready(pods: Objects) -> Bite:
    for pod in pods:
        if any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions") or []):
            return Bite(True, f"{pod['metadata']['name']} is of the new revision, and Ready")
    return Bite(False, f"{len(pods)} new pods, and none is Ready")


def _slow(pods: Objects, since: dict[str, float]) -> Bite:
    for pod in pods:
        name = str(pod["metadata"]["name"])
        ready = any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions") or [])
        if pod["status"].get("phase") == "Running" and not ready:
            seconds = clock.monotonic() - since.setdefault(name, clock.monotonic())
            if seconds >= SLOW_SECONDS:
                return Bite(True, f"{name} runs since {seconds:.0f} s and is not Ready")
    return Bite(False, f"{len(pods)} new pods, and none is seen to be slow")


FAULT: Fault = BadRollout()
