"""JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386)."""

from __future__ import annotations

from typing import Any

import msgspec

from drillbook.sandbox.control.statuses import ApiError


def _refuse(message: str) -> ApiError:
    return ApiError(422, "Invalid", message)


def _tokens(pointer: str) -> list[str]:
    if pointer == "":
        return []
    if not pointer.startswith("/"):
        raise _refuse(f"JSON pointer {pointer!r} must start with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]


def _index(token: str, length: int, pointer: str) -> int:
    if not token.isdecimal() or str(int(token)) != token or int(token) >= length:
        raise _refuse(f"the list at {pointer!r} has no index {token!r}")
    return int(token)


def _child(parent: Any, token: str, pointer: str) -> Any:
    if isinstance(parent, list):
        return parent[_index(token, len(parent), pointer)]
    if isinstance(parent, dict) and token in parent:
        return parent[token]
    raise _refuse(f"the server rejected our request due to an error in our request: there is nothing at {pointer!r}")


def _find(document: Any, pointer: str) -> Any:
    for token in _tokens(pointer):
        document = _child(document, token, pointer)
    return document


def _add(document: Any, pointer: str, value: Any) -> Any:
    tokens = _tokens(pointer)
    if not tokens:
        return value
    parent = document
    for token in tokens[:-1]:
        parent = _child(parent, token, pointer)
    last = tokens[-1]
    if isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent) + 1, pointer), value)
    elif isinstance(parent, dict):
        parent[last] = value
    else:
        raise _refuse(f"cannot add to the scalar that holds {pointer!r}")
    return document


def _remove(document: Any, pointer: str) -> Any:
    tokens = _tokens(pointer)
    if not tokens:
        return None
    parent = document
    for token in tokens[:-1]:
        parent = _child(parent, token, pointer)
    _child(parent, tokens[-1], pointer)
    del parent[int(tokens[-1]) if isinstance(parent, list) else tokens[-1]]
    return document


def _copy(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _same(left: Any, right: Any) -> bool:
    """Equality as JSON has it: ``true`` is not ``1``."""
    return type(left) is type(right) and bool(left == right) if isinstance(left, bool | int) else bool(left == right)


def apply_json_patch(document: Any, operations: Any) -> Any:
    """A patched copy. Raises ApiError 422 where an operation cannot be done, and then nothing was."""
    if not isinstance(operations, list):
        raise ApiError(400, "BadRequest", "a JSON patch is a list of operations")
    result = _copy(document)
    for operation in operations:
        if not isinstance(operation, dict) or "op" not in operation or not isinstance(operation.get("path"), str):
            raise ApiError(400, "BadRequest", f"{operation!r} is not an operation with 'op' and 'path'")
        op, path = operation["op"], operation["path"]
        if op in ("add", "replace", "test") and "value" not in operation:
            raise ApiError(400, "BadRequest", f"operation {op!r} at {path!r} wants a 'value'")
        if op in ("move", "copy") and not isinstance(operation.get("from"), str):
            raise ApiError(400, "BadRequest", f"operation {op!r} at {path!r} wants a 'from'")
        if op == "add":
            result = _add(result, path, _copy(operation["value"]))
        elif op == "remove":
            result = _remove(result, path)
        elif op == "replace":
            _find(result, path)
            result = _add(_remove(result, path), path, _copy(operation["value"]))
        elif op == "move":
            moved = _find(result, operation["from"])
            if path.startswith(operation["from"] + "/"):
                raise _refuse(f"cannot move {operation['from']!r} into itself")
            result = _add(_remove(result, operation["from"]), path, moved)
        elif op == "copy":
            result = _add(result, path, _copy(_find(result, operation["from"])))
        elif op == "test":
            if not _same(_find(result, path), operation["value"]):
                raise _refuse(f"the test at {path!r} failed")
        else:
            raise ApiError(400, "BadRequest", f"{op!r} is not one of add, remove, replace, move, copy, test")
    return result


def apply_merge_patch(document: Any, patch: Any) -> Any:
    """A patched copy: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = apply_merge_patch(result.get(key), value)
    return result
