"""Strategic merge patch: lists of named things merge by their key, and ``$``-directives say the rest."""

from __future__ import annotations

from typing import Any

from drillbook.sandbox.control import listkeys, statuses
from drillbook.sandbox.control.objects import Json

_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def apply_strategic_patch(document: Json, patch: Any) -> Json:
    """A patched copy of a built-in object. Raises ApiError 400 and 422."""
    if not isinstance(patch, dict):
        raise statuses.bad_request("a strategic merge patch is an object")
    return _merge(document, patch, ())


def _merge(current: Json, patch: Json, path: tuple[str, ...]) -> Json:
    directive = patch.get("$patch")
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise statuses.bad_request(f"invalid patch directive {directive!r}: wants replace, merge or delete")
    result = dict(current)
    retained = patch.get("$retainKeys")
    if retained is not None:
        result = {key: value for key, value in result.items() if key in retained}
    for key, value in patch.items():
        if key.startswith(_DELETE):
            field = key.removeprefix(_DELETE)
            if isinstance(result.get(field), list):
                result[field] = [item for item in result[field] if item not in value]
        elif key.startswith("$"):
            continue
        elif value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            present = result.get(key)
            merged = _merge(present if isinstance(present, dict) else {}, value, (*path, key))
            if value.get("$patch") == "delete":
                result.pop(key, None)
            else:
                result[key] = merged
        elif isinstance(value, list):
            result[key] = _merge_list(result.get(key) or [], value, (*path, key), patch.get(_ORDER + key))
        else:
            result[key] = value
    for key, order in patch.items():
        field = key.removeprefix(_ORDER)
        if key.startswith(_ORDER) and field not in patch and isinstance(result.get(field), list):
            result[field] = _in_order(result[field], order, (*path, field))
    return result


def _merge_list(current: list[Any], patch: list[Any], path: tuple[str, ...], order: list[Any] | None) -> list[Any]:
    if listkeys.is_set(path):
        merged = current + [item for item in patch if item not in current]
        return _in_order(merged, order, path) if order else merged
    key = listkeys.merge_key(path)
    if not key or any(not isinstance(item, dict) for item in patch):
        return patch
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    result = list(current)
    for item in patch:
        if key not in item:
            raise statuses.bad_request(f"map: {item} does not contain declared merge key: {key}")
        position = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [old for old in result if old.get(key) != item[key]]
        elif position is None:
            result.append(_merge({}, item, path))
        else:
            result[position] = _merge(result[position], item, path)
    return _in_order(result, order, path) if order else result


def _in_order(items: list[Any], order: list[Any], path: tuple[str, ...]) -> list[Any]:
    """Listed items in the order asked for; unlisted ones stay behind the item that they followed."""
    key = listkeys.merge_key(path)

    def identity(item: Any) -> Any:
        return item.get(key) if key and isinstance(item, dict) else item

    wanted = [identity(item) for item in order]
    rank: dict[int, tuple[int, int]] = {}
    last = -1
    for position, item in enumerate(items):
        if identity(item) in wanted:
            last = wanted.index(identity(item))
            rank[position] = (last, -1)
        else:
            rank[position] = (last, position)
    return [items[position] for position in sorted(rank, key=lambda position: rank[position])]
