"""Whether a new revision took effect: what its pods show, or that they were there and were taken back."""

from __future__ import annotations

from drillbook import clock
from drillbook.faults import golden, proof
from drillbook.faults.fault import Bite, Injected
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import RestoreFields
from drillbook.targets import paths
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target
from drillbook.undo.operations import value_at

CANNOT_PULL = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})
SLOW_SECONDS = 3.0
"""How long a new pod must be seen running and not Ready to count as slow."""
START_SECONDS = 180.0
"""How long a model may load before its garbage must be seen; the studies in the docs have 60 s for small ones."""


async def seen(planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
    """Look until a pod of the revision shows what is wrong with it, or has been there and was taken back."""
    (undo,) = injected.undo
    assert isinstance(undo, RestoreFields)
    met: set[str] = set()

    async def look() -> Bite:
        every = await target.kube.list(paths.pods(undo.object.namespace))
        pods = [pod for pod in every if _is_new(pod, undo) and "deletionTimestamp" not in pod["metadata"]]
        met.update(str(pod["metadata"]["name"]) for pod in pods)
        bite = Bite(False, f"no pod of the new revision of {undo.object} is seen")
        if pods:
            bite = await _harm(planned, injected, target, pods)
        if not bite.bit and met and (how := await _taken_back(undo, target)):
            return Bite(True, f"{min(met)} of the new revision was there, and {how}")
        return bite

    more = START_SECONDS if planned.options["how"] == "garbage" else 0.0
    return await proof.until(look, seconds + more)


async def _harm(planned: PlannedFault, injected: Injected, target: Target, pods: Objects) -> Bite:
    match planned.options["how"]:
        case "image":
            return _waiting(pods, planned.container)
        case "arguments":
            return _ending(pods, planned.container)
        case "slow-start":
            return _slow(pods, injected.seen["since"])
        case "garbage":
            return await golden.differs(target, injected.seen["answer"])
        case _:
            return _ready(pods)


async def _taken_back(undo: RestoreFields, target: Target) -> str:
    """How the target took the revision back; empty where it did not."""
    now = await target.kube.find(paths.of(undo.object))
    if now is None or now["metadata"]["uid"] != undo.object.uid:
        return f"{undo.object} has gone"
    if not all(value_at(now, field.path) == (True, field.wrote) for field in undo.fields):
        return "another template is asked for again"
    return "its rollout was aborted" if (now.get("status") or {}).get("abort") else ""


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
