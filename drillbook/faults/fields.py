"""Writing fields of one object: the patch, guarded by uid and by what was there, and its undo as data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drillbook.errors import RefusedError
from drillbook.faults.fault import strike
from drillbook.model.plan import Call, Permission
from drillbook.model.undo import FieldChange, ObjectRef, RestoreFields
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError, InvalidError
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target
from drillbook.undo.operations import pointer, value_at

Path = tuple[str | int, ...]
ATTEMPTS = 5


async def current(ref: ObjectRef, target: Target) -> Json:
    """The very object, by uid.

    :raises RefusedError: it is gone, or another by now.
    """
    found = await target.kube.find(paths.of(ref))
    if found is None or found["metadata"]["uid"] != ref.uid:
        raise RefusedError(f"{ref} was gone before the fault")
    return found


def undo(ref: ObjectRef, now: Json, wanted: Mapping[Path, Any], *, subresource: str = "") -> RestoreFields:
    """What puts the fields back that ``wanted`` will change; those that hold it already are left out."""
    changes = []
    for path, wrote in wanted.items():
        existed, before = value_at(now, path)
        if not existed or before != wrote:
            changes.append(FieldChange(path=path, existed=existed, before=before, wrote=wrote))
    return RestoreFields(object=ref, fields=tuple(changes), subresource=subresource)


def patch(operation: RestoreFields, now: Json) -> Objects:
    """The JSON Patch (RFC 6902) that writes what ``operation`` undoes; it fails where anything changed meanwhile."""
    steps: Objects = [{"op": "test", "path": "/metadata/uid", "value": operation.object.uid}]
    made: set[Path] = set()
    for field in operation.fields:
        for end in range(1, len(field.path)):
            parent = field.path[:end]
            if parent not in made and not value_at(now, parent)[0]:
                made.add(parent)
                steps.append({"op": "add", "path": pointer(parent), "value": {}})
        path = pointer(field.path)
        if field.existed:
            steps.append({"op": "test", "path": path, "value": field.before})
        steps.append({"op": "replace" if field.existed else "add", "path": path, "value": field.wrote})
    if made:  # a parent that someone else makes at the same moment would be overwritten
        version = {"op": "test", "path": "/metadata/resourceVersion", "value": now["metadata"]["resourceVersion"]}
        steps.insert(1, version)
    return steps


def call(operation: RestoreFields, now: Json, why: str) -> Call:
    """The request as a plan shows it."""
    return Call(verb="PATCH", path=where(operation), body=str(patch(operation, now)), why=why)


def where(operation: RestoreFields) -> str:
    """The path that is patched."""
    return "/".join(filter(None, (paths.of(operation.object), operation.subresource)))


async def write(operation: RestoreFields, now: Json, target: Target) -> str:
    """Send the patch; again where something else of the object changed meanwhile. Answers what ``strike`` does.

    :raises RefusedError: someone else wrote the fields at the same moment, or the server does not take them.
    """
    for attempt in range(ATTEMPTS):
        try:
            return await strike([target.kube.patch(where(operation), patch(operation, now), "json")])
        except (ConflictError, InvalidError) as error:
            now = await current(operation.object, target)
            as_before = all(value_at(now, field.path) == (field.existed, field.before) for field in operation.fields)
            if attempt == ATTEMPTS - 1 or not as_before:
                raise RefusedError(
                    f"{operation.object} was changed by someone else, or may not be so: {error}"
                ) from error
    raise AssertionError("the last attempt answers or raises")


def permissions(ref: ObjectRef, *verbs: str, subresource: str = "") -> tuple[Permission, ...]:
    """What is needed of one object: ``get`` and ``patch`` unless said."""
    group = ref.api_version.rpartition("/")[0]
    return tuple(
        Permission(verb=verb, group=group, resource=ref.plural, subresource=subresource, namespace=ref.namespace or "*")
        for verb in verbs or ("get", "patch")
    )
