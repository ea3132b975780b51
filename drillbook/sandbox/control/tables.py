"""Tables: what ``kubectl get`` asks for instead of objects (``as=Table``)."""

from __future__ import annotations

from collections.abc import Iterable

from drillbook.sandbox.control import columns, conversions, times
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, copy, dig, meta, name_of

_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}
_AGE = {"name": "Age", "type": "string", "format": "", "description": "Time since creation.", "priority": 0}


def wants_table(accept: str) -> bool:
    """Whether a Table of ``meta.k8s.io/v1`` is among the answers asked for."""
    return any("as=Table" in part and "v=v1;" in part + ";" for part in accept.split(","))


def table(kind: Kind, objects: Iterable[Json], include: str, resource_version: str, *, headers: bool = True) -> Json:
    """``include`` is the query's ``includeObject``: Metadata, Object or None."""
    printer = columns.PRINTERS.get(kind.resource) or columns.of_custom(kind)
    result: Json = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": resource_version}}
    definitions = [_definition(*column) for column in printer.columns]
    age = next((i for i, row in enumerate(definitions) if row["priority"]), len(definitions)) if printer.age else None
    if age is not None:
        definitions.insert(age, _AGE)
    definitions = [_NAME, *definitions] if printer.name_first else [*definitions, {**_NAME, "priority": 1}]
    result["columnDefinitions"] = definitions if headers else None
    if kind.stored_in is not None:  # the printer knows the names of the fields as they are stored
        objects = [conversions.to_storage(kind, copy(obj)) for obj in objects]
    result["rows"] = [_row(printer, obj, include, age) for obj in objects]
    return result


def _definition(name: str, kind: str, priority: int) -> Json:
    return {"name": name, "type": kind, "format": "", "description": name, "priority": priority}


def _row(printer: columns.Printer, obj: Json, include: str, age: int | None) -> Json:
    cells = printer.cells(obj)
    if age is not None:
        cells.insert(age, times.age(dig(obj, "metadata", "creationTimestamp")))
    row: Json = {"cells": [name_of(obj), *cells] if printer.name_first else [*cells, name_of(obj)]}
    if include == "Object":
        row["object"] = obj
    elif include != "None":
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta(obj)}
    return row
