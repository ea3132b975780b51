"""CustomResourceDefinitions that are deleted take their objects with them."""

from __future__ import annotations

from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.deletion import INSTANCES
from drillbook.sandbox.control.objects import is_deleting, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change


class CustomResourceCleanup(Controller):
    resource = "customresourcedefinitions.apiextensions.k8s.io"
    component = "apiextensions-apiserver"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self.store.listen("*", self._on_change)

    def _on_change(self, change: Change) -> None:
        """An object that had to be waited for may have been the last of its kind."""
        if change.type == "DELETED" and self.registry.find(self.resource, "", change.resource) is not None:
            self.enqueue(("", change.resource))

    def reconcile(self, namespace: str, name: str) -> float | None:
        definition = self.registry.find(self.resource, "", name)
        if definition is None or not is_deleting(definition):
            return None
        kind = self.registry.kinds.of_resource(name)
        for entry in self.store.entries(name):
            self.registry.delete(kind, namespace_of(entry.obj), name_of(entry.obj))
        if not self.store.entries(name):
            rest = [finalizer for finalizer in definition["metadata"].get("finalizers", []) if finalizer != INSTANCES]
            self.registry.modify(self._kind, "", name, lambda fresh: fresh["metadata"].update(finalizers=rest))
        return None
