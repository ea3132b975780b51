"""From a file to an ``Experiment``, or to all that is wrong with the file, each with its place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from drillbook import catalog
from drillbook.document import reading
from drillbook.document.node import Document
from drillbook.errors import InvalidFileError, Problem
from drillbook.experiments import consistency, messages, schema
from drillbook.model.experiment import Experiment
from drillbook.model.units import Dimension
from drillbook.probes import registry


@dataclass(frozen=True, slots=True)
class Loaded:
    """An experiment and the very text that it was read from."""

    experiment: Experiment
    source: str
    path: Path
    sha256: str
    """Of the file's bytes, in hexadecimal."""


def load(path: Path, *, extra_probes: Mapping[str, Dimension | None] | None = None) -> Loaded:
    """Read and check one experiment file. Nothing of the user's is executed, and nothing outside the file is touched.

    ``extra_probes`` are known beside drillbook's own and those that the ``probes`` folders declare.

    Raises:
        InvalidFileError: with every problem of the file, in the order of their lines.

    """
    document = reading.read(path)
    probes = {**known_probes(path, extra_probes), **_queries(document)}
    experiment = _validate(document, probes) if document.root is not None else None
    if experiment is None or document.problems:
        found = sorted(dict.fromkeys(document.problems), key=_place)
        raise InvalidFileError.of(path, found)
    return Loaded(experiment, document.text, path, document.sha256)


def known_probes(path: Path, extra: Mapping[str, Dimension | None] | None = None) -> dict[str, Dimension | None]:
    """Every probe that an experiment at ``path`` may name, with its dimension (None for an event)."""
    return {**catalog.declared_probes(path.parent), **(extra or {}), **registry.dimensions()}


def _queries(document: Document) -> dict[str, Dimension]:
    """The probes that the file itself defines in PromQL, as far as they are whole."""
    written = document.value_at(["queries"])
    units = {
        name: query.get("unit")
        for name, query in (written.items() if isinstance(written, dict) else ())
        if isinstance(query, dict) and name not in registry.PROBES
    }
    return {name: Dimension(unit) for name, unit in units.items() if unit in list(Dimension)}


def _validate(document: Document, probes: Mapping[str, Dimension | None]) -> Experiment | None:
    """Note in the document what its model refuses; what is consistent is asked only of what the model took."""
    document.problems += consistency.names(document)
    try:
        # JSON is pydantic's strict mode that still takes a list for a tuple; "yes" is then no boolean, "48" no number.
        experiment = schema.experiment_type().model_validate_json(
            json.dumps(document.value), strict=True, by_alias=True, by_name=False, context={"probes": probes}
        )
    except ValidationError as error:
        document.problems += messages.problems(error.errors(include_url=False), document)
        return None
    document.problems += consistency.problems(experiment, document)
    return experiment


def _place(problem: Problem) -> tuple[float, int]:
    """The order in which problems are told; those without a place come last."""
    return problem.line or float("inf"), problem.column
