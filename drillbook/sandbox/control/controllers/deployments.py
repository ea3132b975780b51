"""Deployments: a ReplicaSet per template, and the walk from the old ones to the new."""

from __future__ import annotations

import msgspec

from drillbook.sandbox.control.controllers import podset, progress, rollouts
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import (
    Json,
    annotations_of,
    copy,
    dig,
    is_controlled_by,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
)
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.store import Change

_HASH = "pod-template-hash"
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        rollouts.REVISION,
        rollouts.DESIRED,
        rollouts.MAXIMUM,
        "deployment.kubernetes.io/revision-history",
        "deprecated.deployment.rollback.to",
    }
)


class Deployments(Controller):
    resource = "deployments.apps"
    component = "deployment-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._sets = registry.kinds.of_resource("replicasets.apps")
        self.store.listen("replicasets.apps", self._on_set)
        self.store.listen("pods", self._on_pod)

    def _on_set(self, change: Change) -> None:
        self.enqueue_owner(change.obj, "Deployment")

    def _on_pod(self, change: Change) -> None:
        """Recreate waits for the last old pod to be gone, and only its end says so."""
        if change.type != "DELETED":
            return
        hashed = labels_of(change.obj).get(_HASH)
        owners = change.obj["metadata"].get("ownerReferences") or []
        if hashed and owners and owners[0]["name"].endswith(f"-{hashed}"):
            self.enqueue((namespace_of(change.obj), owners[0]["name"].removesuffix(f"-{hashed}")))

    def reconcile(self, namespace: str, name: str) -> float | None:
        deployment = self.registry.find(self.resource, namespace, name)
        if deployment is None:
            return None
        sets = podset.claim(self.registry, deployment, "replicasets.apps")
        if is_deleting(deployment):
            return self._finish(deployment, sets, None)
        deployment = progress.note_pause(self.registry, deployment)
        paused = bool(deployment["spec"].get("paused"))
        resized = any(
            annotations_of(row).get(rollouts.DESIRED) != str(rollouts.replicas(deployment))
            for row in sets
            if rollouts.replicas(row) > 0
        )
        newest, deployment = self._newest(
            deployment, sets, create=not paused and not resized and self._may_create(deployment, sets)
        )
        old = [row for row in sets if newest is None or name_of(row) != name_of(newest)]
        if paused or resized:
            self._resize(deployment, rollouts.proportional_sizes(deployment, newest, old))
        elif dig(deployment, "spec", "strategy", "type") == "Recreate":
            self._recreate(deployment, newest, old)
        elif newest is not None:
            everything = [*old, newest]
            size = rollouts.new_set_size(deployment, newest, everything)
            grown = self._resize(deployment, {name_of(newest): size})
            if not grown:
                self._resize(deployment, rollouts.old_set_sizes(deployment, newest, old))
        sets = self.own(deployment, "replicasets.apps")
        fresh = self.registry.find(self.resource, namespace, name)
        if fresh is None:
            return None
        newest = next((row for row in sets if newest is not None and name_of(row) == name_of(newest)), None)
        return self._finish(fresh, sets, newest)

    def _finish(self, deployment: Json, sets: list[Json], newest: Json | None) -> float | None:
        again = progress.write_status(self.registry, deployment, sets, newest)
        fresh = self.registry.find(self.resource, namespace_of(deployment), name_of(deployment))
        if fresh is not None and newest is not None and rollouts.is_complete(fresh, fresh.get("status") or {}):
            self._forget(fresh, [row for row in sets if row is not newest])
        return again

    def _may_create(self, deployment: Json, sets: list[Json]) -> bool:
        """Recreate makes the new ReplicaSet only when the old pods are gone, terminating ones included."""
        if dig(deployment, "spec", "strategy", "type") != "Recreate":
            return True
        same = self._same_template(deployment, sets)
        return not any(
            rollouts.replicas(row) or self.own(row, "pods") for row in sets if same is None or row is not same
        )

    def _recreate(self, deployment: Json, newest: Json | None, old: list[Json]) -> None:
        self._resize(deployment, {name_of(row): 0 for row in old if rollouts.replicas(row)})
        left = [
            pod
            for row in old
            for pod in self.own(row, "pods")
            if dig(pod, "status", "phase") not in ("Succeeded", "Failed")
        ]
        if newest is not None and not left:
            self._resize(deployment, {name_of(newest): rollouts.replicas(deployment)})

    def _same_template(self, deployment: Json, sets: list[Json]) -> Json | None:
        wanted = deployment["spec"]["template"]
        same = [row for row in sets if without_hash(row["spec"]["template"]) == without_hash(wanted)]
        return min(same, key=lambda row: row["metadata"]["creationTimestamp"], default=None)

    def _newest(self, deployment: Json, sets: list[Json], *, create: bool) -> tuple[Json | None, Json]:
        """The ReplicaSet of the present template, made if need be; and the deployment, whose annotations follow it."""
        found = self._same_template(deployment, sets)
        highest = max((revision_of(row) for row in sets if row is not found), default=0)
        revision = str(highest + 1)
        if found is None:
            if not create:
                return None, deployment
            found, deployment = self._create(deployment, sets, revision)
            if found is None:
                return None, deployment
        elif revision_of(found) <= highest or self._differs(deployment, found):
            if revision_of(found) > highest:
                revision = annotations_of(found)[rollouts.REVISION]
            found = self.registry.modify(
                self._sets, namespace_of(found), name_of(found), lambda row: self._follow(row, deployment, revision)
            ).obj
        revision = annotations_of(found)[rollouts.REVISION]
        if annotations_of(deployment).get(rollouts.REVISION) != revision:

            def note(fresh: Json) -> None:
                fresh["metadata"].setdefault("annotations", {})[rollouts.REVISION] = revision

            deployment = self.registry.modify(self._kind, namespace_of(deployment), name_of(deployment), note).obj
        return found, deployment

    def _differs(self, deployment: Json, found: Json) -> bool:
        wanted = {key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED}
        return not wanted.items() <= annotations_of(found).items() or deployment["spec"].get(
            "minReadySeconds", 0
        ) != found["spec"].get("minReadySeconds", 0)

    def _follow(self, row: Json, deployment: Json, revision: str) -> None:
        annotations = row["metadata"].setdefault("annotations", {})
        before = annotations.get(rollouts.REVISION)
        if before and before != revision:
            history = annotations.get("deployment.kubernetes.io/revision-history")
            annotations["deployment.kubernetes.io/revision-history"] = f"{history},{before}" if history else before
        annotations |= {key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED}
        annotations[rollouts.REVISION] = revision
        if deployment["spec"].get("minReadySeconds"):
            row["spec"]["minReadySeconds"] = deployment["spec"]["minReadySeconds"]

    def _create(self, deployment: Json, sets: list[Json], revision: str) -> tuple[Json | None, Json]:
        template = copy(deployment["spec"]["template"])
        collisions = int(dig(deployment, "status", "collisionCount", default=0))
        salt = str(collisions).encode() if collisions else b""
        hashed = podset.safe_hash(msgspec.json.encode(template, order="sorted") + salt)
        template["metadata"].setdefault("labels", {})[_HASH] = hashed
        wanted = rollouts.replicas(deployment)
        row: Json = {
            "metadata": {
                "name": f"{name_of(deployment)}-{hashed}",
                "labels": dict(template["metadata"]["labels"]),
                "ownerReferences": [owner_reference(deployment)],
            },
            "spec": {"replicas": 0, "selector": copy(deployment["spec"]["selector"]), "template": template},
        }
        row["spec"]["selector"].setdefault("matchLabels", {})[_HASH] = hashed
        self._follow(row, deployment, revision)
        row["metadata"]["annotations"] |= {
            rollouts.DESIRED: str(wanted),
            rollouts.MAXIMUM: str(wanted + rollouts.Budget.of(deployment).surge),
        }
        row["spec"]["replicas"] = rollouts.new_set_size(deployment, row, sets)
        try:
            made = self.registry.create(self._sets, namespace_of(deployment), row).obj
        except ApiError as refusal:
            if refusal.reason != "AlreadyExists":
                raise
            there = self.registry.find("replicasets.apps", namespace_of(deployment), row["metadata"]["name"])
            if there is not None and is_controlled_by(there, deployment):
                raise
            fresh = self.registry.modify(
                self._kind,
                namespace_of(deployment),
                name_of(deployment),
                lambda obj: obj["status"].update(collisionCount=collisions + 1),
                "status",
            ).obj
            return None, fresh
        self._tell(deployment, made, 0, rollouts.replicas(made))
        fresh = progress.note(
            self.registry, deployment, "True", "NewReplicaSetCreated", f'Created new replica set "{name_of(made)}"'
        )
        return made, fresh

    def _tell(self, deployment: Json, row: Json, before: int, now: int) -> None:
        if before != now:
            word = "up" if now > before else "down"
            self.recorder.normal(
                deployment,
                self.component,
                "ScalingReplicaSet",
                f"Scaled {word} replica set {name_of(row)} from {before} to {now}",
            )

    def _resize(self, deployment: Json, sizes: dict[str, int]) -> bool:
        """Whether any size changed. The annotations that later scaling reckons with are brought up to date as well."""
        wanted = rollouts.replicas(deployment)
        notes = {rollouts.DESIRED: str(wanted), rollouts.MAXIMUM: str(wanted + rollouts.Budget.of(deployment).surge)}
        changed = False
        for row in self.own(deployment, "replicasets.apps"):
            before = rollouts.replicas(row)
            size = sizes.get(name_of(row), before)
            stale = any(annotations_of(row).get(key) != text for key, text in notes.items())
            if size == before and not (stale and size > 0):
                continue

            def change(fresh: Json, size: int = size) -> None:
                fresh["spec"]["replicas"] = size
                fresh["metadata"].setdefault("annotations", {}).update(notes)

            self.registry.modify(self._sets, namespace_of(row), name_of(row), change)
            self._tell(deployment, row, before, size)
            changed = changed or size != before
        return changed

    def _forget(self, deployment: Json, old: list[Json]) -> None:
        """Delete the oldest empty ReplicaSets beyond the history's limit."""
        empty = [
            row
            for row in old
            if not rollouts.replicas(row) and not dig(row, "status", "replicas", default=0) and not is_deleting(row)
        ]
        empty.sort(key=revision_of)
        excess = len(empty) - int(deployment["spec"].get("revisionHistoryLimit", 10))
        for row in empty[: max(0, excess)]:
            self.registry.delete(self._sets, namespace_of(row), name_of(row))


def revision_of(row: Json) -> int:
    """A ReplicaSet's number, the newest the highest."""
    return int(annotations_of(row).get(rollouts.REVISION, 0))


def without_hash(template: Json) -> Json:
    """A pod template as its Deployment has it."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != _HASH}
    rest = {key: value for key, value in metadata.items() if key not in ("labels", "creationTimestamp")}
    return {**template, "metadata": {**rest, "labels": labels}}
