"""Who owns which field: the sets of ``metadata.managedFields`` and their ``FieldsV1`` text form.

A field is a path of ``f:name`` (a field), ``k:{"name":"x"}`` (an item of a keyed list), ``v:"x"`` (an item of a set)
and ``.`` (the item itself), as structured-merge-diff writes them.
"""

from __future__ import annotations

from typing import Any

import msgspec

from drillbook.sandbox.control import listkeys
from drillbook.sandbox.control.objects import Json

Path = tuple[str, ...]
Fields = frozenset[Path]

_SYSTEM = frozenset(
    {
        "name",
        "namespace",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generateName",
        "selfLink",
    }
)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def fields_of(obj: Json) -> dict[Path, Any]:
    """Every leaf that somebody may own, with its value."""
    found: dict[Path, Any] = {}
    for key, value in obj.items():
        if key == "metadata":
            value = {name: row for name, row in value.items() if name not in _SYSTEM}
        if key not in ("apiVersion", "kind") and not (key == "metadata" and not value):
            _collect(value, (f"f:{key}",), (key,), found)
    return found


def _collect(value: Any, path: Path, names: tuple[str, ...], found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value:
        for key, child in value.items():
            _collect(child, (*path, f"f:{key}"), (*names, key), found)
        return
    if isinstance(value, list) and value:
        key = listkeys.merge_key(names)
        if key and all(isinstance(item, dict) and key in item for item in value):
            for item in value:
                here = (*path, "k:" + _text({key: item[key]}))
                found[(*here, ".")] = None
                for field, child in item.items():
                    _collect(child, (*here, f"f:{field}"), (*names, field), found)
            return
        if listkeys.is_set(names):
            found.update({(*path, "v:" + _text(item)): None for item in value})
            return
    found[path] = value


def encode(fields: Fields) -> Json:
    """The ``FieldsV1`` tree."""
    tree: Json = {}
    for path in sorted(fields):
        node = tree
        for part in path:
            node = node.setdefault(part, {})
    return tree


def decode(tree: Json) -> Fields:
    """The leaves of a ``FieldsV1`` tree."""
    found: set[Path] = set()

    def walk(node: Json, path: Path) -> None:
        for part, child in node.items():
            if child:
                walk(child, (*path, part))
            else:
                found.add((*path, part))

    walk(tree, ())
    return frozenset(found)


def remove(obj: Json, path: Path) -> None:
    """Take the field away, in place, with its parents where that leaves them empty."""
    _remove(obj, path)


def _remove(value: Any, path: Path) -> bool:
    """Whether ``value`` is empty afterwards."""
    head, rest = path[0], path[1:]
    if isinstance(value, dict) and head.startswith("f:"):
        name = head[2:]
        if name in value and (not rest or _remove(value[name], rest)):
            del value[name]
        return not value
    if isinstance(value, list) and head.startswith("k:"):
        wanted = msgspec.json.decode(head[2:])
        for item in [row for row in value if all(row.get(key) == text for key, text in wanted.items())]:
            if rest == (".",):
                value.remove(item)
            else:
                _remove(item, rest)
        return not value
    if isinstance(value, list) and head.startswith("v:"):
        item = msgspec.json.decode(head[2:])
        if item in value:
            value.remove(item)
        return not value
    return False


def words(path: Path) -> str:
    """A path for people: ``.spec.containers[name="vllm"].image``."""
    text = ""
    for part in path:
        if part.startswith("f:"):
            text += f".{part[2:]}"
        elif part.startswith("k:"):
            text += "[" + ",".join(f"{k}={_text(v)}" for k, v in msgspec.json.decode(part[2:]).items()) + "]"
        elif part.startswith("v:"):
            text += f"[={part[2:]}]"
    return text
