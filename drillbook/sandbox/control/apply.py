"""Server-side apply: each manager owns the fields it applied, takes away what it no longer applies, and is told of
conflicts. Ownership is tracked from an object's first server-side apply on; before that nobody could ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drillbook.sandbox.control import conversions, listkeys, managedfields, statuses, times
from drillbook.sandbox.control.managedfields import Fields, Path
from drillbook.sandbox.control.objects import Json, copy, dig
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.requests import Target, is_true
from drillbook.sandbox.control.store import Entry

_FIRST = "before-first-apply"


def serve_apply(
    registry: Registry, target: Target, config: Any, query: Mapping[str, str], *, dry_run: bool
) -> tuple[Entry, bool]:
    """Create or change the object: its entry, and whether it is new. Raises ApiError 400, 409, 422."""
    kind, manager = target.kind, query.get("fieldManager", "")
    if not manager:
        raise statuses.bad_request(
            "PatchOptions.meta.k8s.io is invalid: fieldManager: Required value: is required for apply patch"
        )
    if not isinstance(config, dict) or config.get("kind") != kind.kind:
        raise statuses.bad_request(f"an apply patch is a whole {kind.kind} with apiVersion and kind")
    config = conversions.to_storage(kind, copy(config))
    if dig(config, "metadata", "managedFields"):
        raise statuses.bad_request("metadata.managedFields must be nil")
    config.setdefault("metadata", {}).setdefault("name", target.name)
    current = registry.find(kind.resource, target.namespace, target.name)
    if current is None:
        fields = frozenset(managedfields.fields_of(config))
        created = registry.create(
            kind,
            target.namespace,
            _with_managers(config, [_entry(manager, "Apply", kind.api_version, "", fields)]),
            dry_run=dry_run,
        )
        return created, True
    result = applied(copy(current), config, manager, target.subresource, force=is_true(query.get("force")))
    return registry.update(kind, target.namespace, target.name, result, target.subresource, dry_run=dry_run), False


def applied(current: Json, config: Json, manager: str, subresource: str, *, force: bool) -> Json:
    """``current``, which is taken over, with ``config`` applied. Raises ApiError 409."""
    rows: list[Json] = list(current["metadata"].get("managedFields") or [])
    present = managedfields.fields_of(current)
    if not rows:
        kept = frozenset(path for path in present if path[0] != "f:status")
        rows = [_entry(_FIRST, "Update", current["apiVersion"], "", kept)]
    wanted = managedfields.fields_of(config)
    mine: Fields = frozenset()
    others: list[tuple[Json, Fields]] = []
    for row in rows:
        fields = managedfields.decode(row.get("fieldsV1") or {})
        if (row["manager"], row["operation"], row.get("subresource", "")) == (manager, "Apply", subresource):
            mine = fields
        else:
            others.append((row, fields))
    clashes = [
        (row, path)
        for row, fields in others
        for path, value in wanted.items()
        if path in fields and path in present and present[path] != value
    ]
    if clashes and not force:
        raise _conflict(clashes)
    lost = frozenset(path for _, path in clashes)
    owned_elsewhere: Fields = frozenset().union(*(fields for _, fields in others)) - lost
    # an item goes before its fields, for without its key it could not be found
    for path in sorted(mine - frozenset(wanted) - owned_elsewhere, key=lambda path: (len(path), path[-1] != ".")):
        managedfields.remove(current, path)
    result: Json = _merge(current, config, ())
    version = dig(config, "metadata", "resourceVersion")
    if version:
        result["metadata"]["resourceVersion"] = version
    kept_rows = [{**row, "fieldsV1": managedfields.encode(fields - lost)} for row, fields in others if fields - lost]
    return _with_managers(
        result, [*kept_rows, _entry(manager, "Apply", current["apiVersion"], subresource, frozenset(wanted))]
    )


def note_update(old: Json, new: Json, manager: str, subresource: str) -> None:
    """Move the ownership of changed fields to the manager of a plain write, in place, where ownership is tracked."""
    rows = old["metadata"].get("managedFields")
    metadata = new.setdefault("metadata", {})
    if not rows:
        metadata.pop("managedFields", None)
        return
    if metadata.get("managedFields", rows) != rows:
        return  # the writer set the owners itself (kubectl does, when it moves from client-side to server-side apply)
    before, after = managedfields.fields_of(old), managedfields.fields_of(new)
    changed = {path for path, value in after.items() if path not in before or before[path] != value}
    gone = frozenset(before) - frozenset(after)
    if subresource != "status":
        changed = {path for path in changed if path[0] != "f:status"}
        gone = frozenset(path for path in gone if path[0] != "f:status")
    kept = []
    owned = frozenset(changed)
    for row in rows:
        fields = managedfields.decode(row.get("fieldsV1") or {})
        if (row["manager"], row["operation"], row.get("subresource", "")) == (manager, "Update", subresource):
            owned = (fields | owned) - gone
        elif fields - owned - gone:
            kept.append(
                row
                if not fields & (owned | gone)
                else {**row, "fieldsV1": managedfields.encode(fields - frozenset(changed) - gone)}
            )
    if owned:
        kept.append(_entry(manager, "Update", old["apiVersion"], subresource, owned))
    metadata["managedFields"] = kept if changed or gone else rows


def _entry(manager: str, operation: str, api_version: str, subresource: str, fields: Fields) -> Json:
    row: Json = {
        "manager": manager,
        "operation": operation,
        "apiVersion": api_version,
        "time": times.stamp(),
        "fieldsType": "FieldsV1",
        "fieldsV1": managedfields.encode(fields),
    }
    return {**row, "subresource": subresource} if subresource else row


def _with_managers(obj: Json, rows: list[Json]) -> Json:
    obj["metadata"]["managedFields"] = rows
    return obj


def _merge(current: Any, config: Any, names: tuple[str, ...]) -> Any:
    if isinstance(current, dict) and isinstance(config, dict):
        merged = {key: _merge(current.get(key), value, (*names, key)) for key, value in config.items()}
        return {**current, **merged}
    if isinstance(current, list) and isinstance(config, list) and names:
        if listkeys.is_set(names):
            return current + [item for item in config if item not in current]
        key = listkeys.merge_key(names)
        if key and all(isinstance(item, dict) and key in item for item in [*current, *config]):
            updates = {item[key]: item for item in config}
            merged_list = [
                _merge(item, updates.pop(item[key]), names) if item[key] in updates else item for item in current
            ]
            return merged_list + [item for item in config if item[key] in updates]
    return config


def _conflict(clashes: list[tuple[Json, Path]]) -> statuses.ApiError:
    texts = [
        f'conflict with "{row["manager"]}" using {row["apiVersion"]}: {managedfields.words(path)}'
        for row, path in clashes
    ]
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": f'conflict with "{row["manager"]}" using {row["apiVersion"]}',
            "field": managedfields.words(path),
        }
        for row, path in clashes
    ]
    count = len(texts)
    message = f"Apply failed with {count} conflict{'s' if count > 1 else ''}: {', '.join(texts)}"
    return statuses.ApiError(409, "Conflict", message, {"causes": causes})
