"""The workload behind a role: the one Deployment, StatefulSet or LeaderWorkerSet that owns its pods."""

from __future__ import annotations

from dataclasses import dataclass

from drillbook.errors import UnsupportedError
from drillbook.model.undo import ObjectRef
from drillbook.targets import paths
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target

NAME = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
"""How Kubernetes names objects."""


@dataclass(frozen=True)
class Kind:
    """A kind of workload."""

    api_version: str
    kind: str
    plural: str


DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
ROLLOUT = Kind("argoproj.io/v1alpha1", "Rollout", "rollouts")
"""Of Argo Rollouts; of the sandbox's own controller, where the stack is ``canary``."""
KINDS = (
    DEPLOYMENT,
    Kind("apps/v1", "StatefulSet", "statefulsets"),
    Kind("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets"),
)
_HASHES = {"Deployment": "pod-template-hash", "Rollout": "rollouts-pod-template-hash"}
"""The label by which the pods of one template are told from another's."""


async def find(
    role: str, name: str | None, pods: Objects, target: Target, kinds: tuple[Kind, ...] = KINDS
) -> tuple[ObjectRef, Json]:
    """The one workload that owns the role's pods, through however many controllers; with ``name`` that very one.

    :raises UnsupportedError: there is none, or several and no name.
    """
    found: dict[str, tuple[ObjectRef, Json]] = {}
    for kind in kinds:
        place = paths.collection(kind.api_version, kind.plural, target.namespace)
        for each in {*_owners(pods, kind), *([name] if name else [])}:
            workload = await target.kube.find(f"{place}/{each}")
            if workload is not None and name in (None, each):
                ref = paths.ref(workload, kind.plural, api_version=kind.api_version, kind=kind.kind)
                found[ref.uid] = (ref, workload)
    if len(found) == 1:
        return next(iter(found.values()))
    names = ", ".join(str(ref) for ref, _ in found.values())
    wanted = " or ".join(", ".join(kind.kind for kind in kinds).rsplit(", ", 1))
    raise UnsupportedError(
        f"the {role} pods belong to several workloads: {names}"
        if found
        else f"no {wanted} of the {role} pods is found in {target.namespace}",
        hint="say which: workload: NAME",
    )


def _owners(pods: Objects, kind: Kind) -> set[str]:
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
            elif owner["kind"] == "ReplicaSet" and kind.kind in _HASHES and _HASHES[kind.kind] in marks:
                names.add(owner["name"].removesuffix("-" + marks[_HASHES[kind.kind]]))
    return names - {""}
