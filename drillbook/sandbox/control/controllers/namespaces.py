"""Namespaces: each has its default service account; a deleted one empties itself, then goes."""

from __future__ import annotations

from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.objects import is_deleting, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change


class Namespaces(Controller):
    resource = "namespaces"
    component = "namespace-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource("namespaces")
        self.store.listen("*", self._on_change)

    def _on_change(self, change: Change) -> None:
        if change.type == "DELETED" and namespace_of(change.obj):
            found = self.registry.find("namespaces", "", namespace_of(change.obj))
            if found is not None and (is_deleting(found) or change.resource == "serviceaccounts"):
                self.enqueue(("", name_of(found)))

    def reconcile(self, namespace: str, name: str) -> float | None:
        found = self.registry.find("namespaces", "", name)
        if found is None:
            return None
        if not is_deleting(found):
            if self.registry.find("serviceaccounts", name, "default") is None:
                self.registry.create(
                    self.registry.kinds.of_resource("serviceaccounts"), name, {"metadata": {"name": "default"}}
                )
            return None
        left = 0
        for kind in {kind.resource: kind for kind in self.registry.kinds if kind.namespaced}.values():
            for entry in self.store.entries(kind.resource, name):
                _, gone = self.registry.delete(kind, name, name_of(entry.obj), DeleteOptions(propagation="Background"))
                left += not gone
        if not left:
            self.registry.modify(self._kind, "", name, lambda fresh: fresh["spec"].update(finalizers=[]), "finalize")
        return None
