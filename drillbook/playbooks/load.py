"""From a YAML file to a ``Playbook``, or to all that is wrong with it, each at its line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from drillbook import catalog
from drillbook.document import reading
from drillbook.document.node import Document
from drillbook.errors import InvalidFileError, Problem
from drillbook.experiments.messages import shown
from drillbook.model.expectation import suggest
from drillbook.playbooks import texts
from drillbook.playbooks.playbook import PLACEHOLDERS, Playbook

_PLACEHOLDERS_HINT = "a text may name " + ", ".join(PLACEHOLDERS)


def find(name: str, start: Path | None = None) -> Playbook:
    """The playbook of a name: the user's own before drillbook's.

    Raises:
        UsageError: there is none of that name.
        InvalidFileError: its file is wrong.

    """
    return load(catalog.find("playbooks", name, start))


def load(path: Path) -> Playbook:
    """Read and check one playbook.

    Raises:
        InvalidFileError: with every problem of the file, in the order of their lines.

    """
    document = reading.read(path)
    playbook = _validate(document) if document.root is not None else None
    if playbook is not None:
        document.problems += _templates(document, document.value, ())
        document.problems += _triage(document, playbook)
    if playbook is None or document.problems:
        found = sorted(document.problems, key=lambda problem: (problem.line, problem.column))
        raise InvalidFileError.of(path, found[: reading.MAX_PROBLEMS])
    return playbook


def _validate(document: Document) -> Playbook | None:
    try:
        return Playbook.model_validate_json(json.dumps(document.value), strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        told = (one for one in error.errors(include_url=False) if not _is_echo(document, one))
        document.problems += [_problem(document, one) for one in told]
        return None


def _is_echo(document: Document, error: ErrorDetails) -> bool:
    """A list whose items are wrong is also called too short: only the good ones are counted."""
    return error["type"] == "too_short" and bool(document.value_at(error["loc"]))


def _problem(document: Document, error: ErrorDetails) -> Problem:
    path, name = error["loc"], shown(error["loc"][-1])
    match error["type"]:
        case "missing":
            return document.problem(path, f"{name} is missing", on_key=True)
        case "extra_forbidden":
            return document.problem(
                path, f"{name} is no key here", suggest(str(path[-1]), _keys(path[:-1])), on_key=True
            )
        case "too_short" | "string_too_short":
            return document.problem(path, f"{name} is empty", on_key=True)
        case "enum":
            hint = f"allowed: {error.get('ctx', {}).get('expected', '')}"
            return document.problem(path, f"{name} cannot be {shown(error['input'])}", hint)
        case _:
            return document.problem(path, f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}")


def _keys(path: Sequence[str | int]) -> tuple[str, ...]:
    """The keys that are allowed at a place of the file."""
    model: Any = Playbook
    for step in path:
        if isinstance(step, str):
            field = next(field for field in model.model_fields.values() if field.alias == step)
            model = next((part for part in _parts(field.annotation) if issubclass(part, BaseModel)), model)
    return tuple(str(field.alias) for field in model.model_fields.values())


def _parts(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _parts(part)


def _templates(document: Document, value: object, path: tuple[str | int, ...]) -> Iterator[Problem]:
    if isinstance(value, str):
        if message := texts.wrong(value):
            yield document.problem(path, message, _PLACEHOLDERS_HINT)
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _templates(document, item, (*path, key))


def _triage(document: Document, playbook: Playbook) -> Iterator[Problem]:
    """Steps that an answer refers to (``go to x``) must exist, and no two may share a name."""
    known = [step.id for step in playbook.triage]
    for place, step in enumerate(playbook.triage):
        if known.index(step.id) != place:
            yield document.problem(("triage", place, "id"), f"two steps are called {shown(step.id)}")
        for key, answer in (("yes", step.yes), ("no", step.no)):
            target = answer.removeprefix("go to ").split()[0].strip(".,:;") if answer.startswith("go to ") else None
            if target is not None and target not in known:
                hint = suggest(target, tuple(known))
                yield document.problem(("triage", place, key), f"no step is called {shown(target)}", hint)
