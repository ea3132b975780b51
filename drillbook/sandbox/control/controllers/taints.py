"""Taint-based eviction: pods that do not tolerate a NoExecute taint, or not for long, are deleted."""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import fit
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, dig, is_deleting, name_of
from drillbook.sandbox.control.registry import Registry, key_of
from drillbook.sandbox.control.store import Change


class TaintEvictions(Controller):
    component = "taint-eviction-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._pods = registry.kinds.of_resource("pods")
        self.store.listen("pods", self._on_pod)
        self.store.listen("nodes", self._on_node)

    def prime(self) -> list[Key]:
        return [key_of(pod) for pod in self.store.objects("pods") if self._taints(pod)]

    def _taints(self, pod: Json) -> list[Json]:
        node = self.registry.find("nodes", "", dig(pod, "spec", "nodeName", default=""))
        return [row for row in dig(node, "spec", "taints", default=[]) if row["effect"] == "NoExecute"]

    def _on_pod(self, change: Change) -> None:
        if change.type != "DELETED" and self._taints(change.obj):
            self.enqueue(key_of(change.obj))

    def _on_node(self, change: Change) -> None:
        before = dig(change.previous.obj, "spec", "taints") if change.previous is not None else None
        if change.type != "DELETED" and dig(change.obj, "spec", "taints") != before:
            for pod in self.store.objects("pods"):
                if dig(pod, "spec", "nodeName") == name_of(change.obj):
                    self.enqueue(key_of(pod))

    def reconcile(self, namespace: str, name: str) -> float | None:
        pod = self.registry.find("pods", namespace, name)
        if pod is None or is_deleting(pod):
            return None
        deadline = min(
            (end for row in self._taints(pod) if (end := _end_of_toleration(pod, row)) is not None), default=None
        )
        if deadline is None:
            return None
        left = deadline - clock.wall()
        if left > 0:
            return left

        def mark(fresh: Json) -> None:
            rest = [row for row in dig(fresh, "status", "conditions", default=[]) if row["type"] != "DisruptionTarget"]
            fresh["status"]["conditions"] = [
                *rest,
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "DeletionByTaintManager",
                    "message": "Taint manager: deleting due to NoExecute taint",
                    "lastTransitionTime": times.stamp(),
                },
            ]

        self.registry.modify(self._pods, namespace, name, mark, "status")
        self.recorder.normal(
            pod, self.component, "TaintManagerEviction", f"Marking for deletion Pod {namespace}/{name}"
        )
        self.registry.delete(self._pods, namespace, name)
        return None


def _end_of_toleration(pod: Json, taint: Json) -> float | None:
    """Epoch seconds until which the pod tolerates the taint; None for ever."""
    matching = [
        row
        for row in dig(pod, "spec", "tolerations", default=[])
        if fit.tolerates({"spec": {"tolerations": [row]}}, taint)
    ]
    if not matching:
        return 0.0
    limits = [row["tolerationSeconds"] for row in matching if row.get("tolerationSeconds") is not None]
    if not limits:
        return None
    since = times.parse(taint["timeAdded"]) if taint.get("timeAdded") else clock.wall()
    return since + max(0.0, float(min(limits)))
