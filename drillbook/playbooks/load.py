"""From a YAML file to a ``Playbook``, or to all that is wrong with it, each at its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from drillbook import catalog
from drillbook.document import reading
from drillbook.document.node import Document
from drillbook.document.refusals import told
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
        document.problems += told(error, document, Playbook)
        return None


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
