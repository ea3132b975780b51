"""Which fields a kind has, and what a server says of those that it has not, or that are given twice.

The table is ``fields.jsonl``, made by ``tests/support/field_table.py`` from the official client's models. Custom
resources have no entry: of them everything is kept. What is done about a finding, ``fieldValidation`` says:
https://kubernetes.io/docs/reference/using-api/api-concepts/#field-validation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Any

import msgspec
from aiohttp import web

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json

DIRECTIVES = ("Ignore", "Strict", "Warn")
WARNINGS = web.RequestKey("WARNINGS", list[str])
"""Where a request keeps what its answer is to warn of."""


@cache
def _table() -> dict[str, dict[str, str]]:
    lines = resources.files(__package__).joinpath("fields.jsonl").read_bytes().splitlines()
    return dict(msgspec.json.decode(line, type=tuple[str, dict[str, str]]) for line in lines)


def check(request: web.Request, kind: Kind, obj: Json, data: bytes) -> None:
    """Take unknown fields out of ``obj``, decoded from ``data``. Raises ApiError 400 where the request is strict."""
    strictly, found = _examine(request, kind, obj, data)
    if strictly and found:
        raise statuses.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {', '.join(found)}"
        )


def check_patched(request: web.Request, kind: Kind, obj: Json, data: bytes) -> None:
    """As ``check``, of what a patch (``data``) has made. Raises ApiError 422."""
    strictly, found = _examine(request, kind, obj, data)
    if strictly and found:
        value = json.dumps(data.decode("utf-8", "replace"))
        told = f"Invalid value: {value}: strict decoding error: {', '.join(found)}"
        raise statuses.invalid("", "", "", [("patch", "FieldValueInvalid", told)])


def check_applied(request: web.Request, kind: Kind, obj: Json, place: str, data: bytes) -> None:
    """As ``check``, of an apply patch, whose fields have to be known to be owned. Raises ApiError 400, 500."""
    strictly, found = _examine(request, kind, obj, data)
    unknown = [text.partition('"')[2].rstrip('"') for text in found if text.startswith("unknown")]
    if unknown:
        told = "; ".join(f".{path}: field not declared in schema" for path in unknown)
        what = f"failed to create typed patch object ({place}; {kind.api_version}, Kind={kind.kind})"
        raise statuses.ApiError(500, "InternalError", f"{what}: {told}")
    if strictly and found:
        raise statuses.bad_request(f"error strict decoding YAML: {', '.join(found)}")


def _examine(request: web.Request, kind: Kind, obj: Json, data: bytes) -> tuple[bool, list[str]]:
    directive = request.query.get("fieldValidation", "Warn")
    if directive not in DIRECTIVES:
        allowed = ", ".join(f'"{each}"' for each in DIRECTIVES)
        told = f'Unsupported value: "{directive}": supported values: {allowed}'
        raise statuses.invalid("", "", "", [("fieldValidation", "FieldValueNotSupported", told)])
    found = [f'duplicate field "{path}"' for path in _twice(data)] if directive != "Ignore" else []
    found += [f'unknown field "{path}"' for path in _unknown(obj, f"{kind.api_version}/{kind.kind}", "")]
    if directive == "Warn":
        request[WARNINGS] = found
    return directive == "Strict", found


def warn(request: web.Request, response: web.StreamResponse) -> None:
    """Put the warnings of a request into the headers of its answer: kubectl prints them."""
    for text in request.get(WARNINGS, ()):
        response.headers.add("Warning", f"299 - {json.dumps(text)}")


def _unknown(value: Any, name: str, path: str) -> Iterator[str]:
    """Remove what a type has no field for, and tell its path."""
    fields = _table().get(name)
    if fields is None or not isinstance(value, dict):
        return
    for key in list(value):
        here = f"{path}.{key}" if path else key
        of = fields.get(key)
        if of is None:
            del value[key]
            yield here
        elif of:
            yield from _within(value[key], of, here)


def _within(value: Any, of: str, path: str) -> Iterator[str]:
    if of[0] == "[" and isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, of[1:], f"{path}[{index}]")
    elif of[0] == "{" and isinstance(value, dict):
        for key, item in value.items():
            yield from _unknown(item, of[1:], f"{path}[{key}]")
    else:
        yield from _unknown(value, of, path)


class _Twice(dict[str, Any]):
    """An object of JSON that knows which of its fields were given more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = [] if len(self) == len(pairs) else [key for key in self if [k for k, _ in pairs].count(key) > 1]


def _twice(data: bytes) -> list[str]:
    """The paths of the fields that are given twice; of bodies that are no JSON nothing is told."""
    try:
        return list(_doubles(json.loads(data, object_pairs_hook=_Twice), ""))
    except ValueError:
        return []


def _doubles(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Twice):
        for key in value.twice:
            yield f"{path}.{key}" if path else key
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield from _doubles(item, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _doubles(item, f"{path}[{index}]")
