"""ReplicaSets: as many pods as wanted, no more and no fewer."""

from __future__ import annotations

from collections import Counter

from drillbook.sandbox.control import selectors
from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, controller_of, dig, is_deleting, labels_of, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.store import Change

_BATCH = 100
"""Pods made or deleted in one turn, so that others have theirs."""


class ReplicaSets(Controller):
    resource = "replicasets.apps"
    component = "replicaset-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._pods = registry.kinds.of_resource("pods")
        self._kind = registry.kinds.of_resource(self.resource)
        self.owner_listener("ReplicaSet")
        self.store.listen("pods", self._on_orphan)

    def _on_orphan(self, change: Change) -> None:
        """A pod that nobody controls may be adopted by a set that selects it."""
        if change.type == "DELETED" or controller_of(change.obj) is not None:
            return
        for owner in self.store.objects(self.resource, namespace_of(change.obj)):
            if selectors.of_selector(owner["spec"].get("selector"))(labels_of(change.obj)):
                self.enqueue((namespace_of(owner), name_of(owner)))

    def reconcile(self, namespace: str, name: str) -> float | None:
        owner = self.registry.find(self.resource, namespace, name)
        if owner is None:
            return None
        pods = [pod for pod in podset.claim(self.registry, owner, "pods") if podset.is_active(pod)]
        again: float | None = None
        failure = ""
        if not is_deleting(owner):
            missing = int(owner["spec"].get("replicas", 1)) - len(pods)
            try:
                if missing > 0:
                    pods += self._create(owner, min(missing, _BATCH))
                elif missing < 0:
                    pods = self._delete(owner, pods, min(-missing, _BATCH))
            except ApiError as refusal:
                failure = refusal.message
                self.recorder.warning(owner, self.component, "FailedCreate", f"Error creating: {failure}")
                again = 1.0
            if abs(missing) > _BATCH:
                again = 0.0
        wait = self._write_status(owner, pods, failure)
        return min((seconds for seconds in (again, wait) if seconds is not None), default=None)

    def _create(self, owner: Json, count: int) -> list[Json]:
        made = []
        for _ in range(count):
            pod = podset.pod_of(owner["spec"]["template"], owner)
            made.append(self.registry.create(self._pods, namespace_of(owner), pod).obj)
            self.recorder.normal(owner, self.component, "SuccessfulCreate", f"Created pod: {name_of(made[-1])}")
        return made

    def _delete(self, owner: Json, pods: list[Json], count: int) -> list[Json]:
        crowd = Counter(dig(pod, "spec", "nodeName", default="") for pod in pods)
        ranked = podset.by_least_loss(pods, crowd)
        for pod in ranked[:count]:
            self.registry.delete(self._pods, namespace_of(pod), name_of(pod))
            self.recorder.normal(owner, self.component, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")
        return ranked[count:]

    def _write_status(self, owner: Json, pods: list[Json], failure: str) -> float | None:
        """Seconds until another pod becomes available, if one will."""
        wanted = dig(owner, "spec", "template", "metadata", "labels", default={})
        available, wait = podset.count_available(pods, int(owner["spec"].get("minReadySeconds", 0)))
        status: Json = {"replicas": len(pods)}
        counts = {
            "fullyLabeledReplicas": sum(1 for pod in pods if wanted.items() <= labels_of(pod).items()),
            "readyReplicas": sum(1 for pod in pods if podset.is_ready(pod)),
            "availableReplicas": available,
        }
        status |= {key: value for key, value in counts.items() if value}
        status["observedGeneration"] = owner["metadata"].get("generation", 1)
        if failure:
            status["conditions"] = [
                {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": failure}
            ]
        if status != owner.get("status"):
            self.registry.modify(
                self._kind, namespace_of(owner), name_of(owner), lambda fresh: fresh.update(status=status), "status"
            )
        return wait
