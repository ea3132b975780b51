"""What a model of pydantic refuses of a file, told with its place: for files simpler than experiments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drillbook.document.node import Document
from drillbook.errors import Problem
from drillbook.model.expectation import suggest


def told(error: ValidationError, document: Document, model: type[BaseModel]) -> list[Problem]:
    """One problem for each thing that is wrong."""
    errors = [one for one in error.errors(include_url=False) if not _is_echo(document, one)]
    return [_problem(document, one, model) for one in errors]


def _is_echo(document: Document, error: ErrorDetails) -> bool:
    """A list whose items are wrong is also called too short: only the good ones are counted."""
    return error["type"] == "too_short" and bool(document.value_at(error["loc"]))


def _problem(document: Document, error: ErrorDetails, model: type[BaseModel]) -> Problem:
    path = error["loc"]
    name = repr(str(path[-1])) if path else "the file"
    match error["type"]:
        case "missing":
            return document.problem(path, f"{name} is missing", on_key=True)
        case "extra_forbidden":
            hint = suggest(str(path[-1]), _keys(model, path[:-1]))
            return document.problem(path, f"{name} is no key here", hint, on_key=True)
        case "too_short" | "string_too_short":
            return document.problem(path, f"{name} is empty", on_key=True)
        case "literal_error" | "enum":
            hint = f"allowed: {error.get('ctx', {}).get('expected', '')}"
            return document.problem(path, f"{name} cannot be {error['input']!r}", hint)
        case "expectation" if "at" in error.get("ctx", {}):
            context = error["ctx"]
            return document.problem(path, context["message"], context.get("hint", ""), inside=int(context["at"]))
        case "value_error":
            return document.problem(path, f"{name}: {error.get('ctx', {}).get('error', error['msg'])}")
        case _:
            return document.problem(path, f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}")


def _keys(model: Any, path: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that are allowed at a place of the file."""
    for step in path:
        if isinstance(step, str):
            field = next((field for field in model.model_fields.values() if field.alias == step), None)
            parts = _parts(field.annotation) if field is not None else ()
            model = next((part for part in parts if issubclass(part, BaseModel)), model)
    return tuple(str(field.alias) for field in model.model_fields.values())


def _parts(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part)
