"""CustomResourceDefinitions: storing one makes its plural served, and deleting it ends that."""

from __future__ import annotations

from drillbook.sandbox.control.kinds import Column, Kind
from drillbook.sandbox.control.objects import Json, dig
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

RESOURCE = "customresourcedefinitions.apiextensions.k8s.io"


class Definitions:
    """Keeps the table of kinds in step with the stored definitions."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        for definition in registry.store.objects(RESOURCE):
            self._serve(definition)
        registry.store.listen(RESOURCE, self._on_change)

    def _on_change(self, change: Change) -> None:
        if change.type == "DELETED":
            spec = change.obj["spec"]
            self._registry.kinds.remove_resource(spec["group"], spec["names"]["plural"])
        else:
            self._serve(change.obj)

    def _serve(self, definition: Json) -> None:
        for kind in kinds_of(definition):
            self._registry.kinds.add(kind)


def kinds_of(definition: Json) -> list[Kind]:
    """One served kind per served version; all are stored as the storage version, without conversion."""
    spec = definition["spec"]
    names = spec["names"]
    storage = next((row["name"] for row in spec["versions"] if row.get("storage")), spec["versions"][0]["name"])
    return [
        Kind(
            spec["group"],
            row["name"],
            names["kind"],
            names["plural"],
            spec.get("scope") != "Cluster",
            tuple(names.get("shortNames") or ()),
            frozenset(row.get("subresources") or ()),
            categories=tuple(names.get("categories") or ()),
            storage="" if row["name"] == storage else storage,
            columns=tuple(_column(column) for column in row.get("additionalPrinterColumns") or ()),
            scale_paths=_scale_paths(row),
        )
        for row in spec["versions"]
        if row.get("served", True)
    ]


def _column(row: Json) -> Column:
    return Column(row["name"], row.get("type", "string"), _path(row["jsonPath"]), row.get("priority", 0))


def _path(text: str) -> tuple[str, ...]:
    """A plain ``.spec.replicas``; filters of JSONPath find nothing and print an empty cell."""
    return tuple(text.strip(".").split("."))


def _scale_paths(version: Json) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    scale = dig(version, "subresources", "scale", default={})
    return (
        _path(scale.get("specReplicasPath", ".spec.replicas")),
        _path(scale.get("statusReplicasPath", ".status.replicas")),
        _path(scale["labelSelectorPath"]) if scale.get("labelSelectorPath") else (),
    )
