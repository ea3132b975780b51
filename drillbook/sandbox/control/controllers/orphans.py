"""Pod garbage: pods of a node that was deleted are finished and taken away, after a quarantine."""

from __future__ import annotations

from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.objects import Json, dig, name_of, namespace_of, uid_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change


class PodsOfLostNodes(Controller):
    """Keys are names of nodes."""

    component = "pod-garbage-collector"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._pods = registry.kinds.of_resource("pods")
        self.store.listen("nodes", self._on_node)

    def prime(self) -> list[Key]:
        for node in {dig(pod, "spec", "nodeName", default="") for pod in self.store.objects("pods")} - {""}:
            self.enqueue_after(("", node), self.registry.settings.pod_gc_quarantine)
        return []

    def _on_node(self, change: Change) -> None:
        if change.type == "DELETED":
            self.enqueue_after(("", name_of(change.obj)), self.registry.settings.pod_gc_quarantine)

    def reconcile(self, namespace: str, name: str) -> float | None:
        if self.registry.find("nodes", "", name) is not None:
            return None

        def finish(fresh: Json) -> None:
            conditions = dig(fresh, "status", "conditions", default=[])
            fresh["status"] |= {
                "phase": "Failed",
                "conditions": [
                    *conditions,
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "DeletionByPodGC",
                        "message": "PodGC: node no longer exists",
                        "lastTransitionTime": times.stamp(),
                    },
                ],
            }

        for pod in list(self.store.objects("pods")):
            if dig(pod, "spec", "nodeName") == name:
                where = (namespace_of(pod), name_of(pod))
                if dig(pod, "status", "phase") not in ("Succeeded", "Failed"):
                    self.registry.modify(self._pods, *where, finish, "status")
                self.registry.delete(self._pods, *where, DeleteOptions(grace=0, uid=uid_of(pod)))
        return None
