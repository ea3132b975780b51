"""The experiment of an old run, from its journal alone: no file, no fault and no custom probe is needed to judge it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from drillbook.model import units
from drillbook.model.expectation import ALERT
from drillbook.model.experiment import Experiment
from drillbook.model.history import History
from drillbook.model.units import Dimension
from drillbook.probes import registry

_STEP_KEYS = ("fault", "at", "for", "bites")
"""What judging needs of a step; the fault's own keys may be of a plugin that is not here."""
_ASKED = re.compile(r"\s*(?:(?:always|eventually|sometimes)\s+)?([A-Za-z][\w.-]*)\s*(?:(?:[<>]=?|[=!]=)\s*(\S+))?")


def recall(history: History) -> Experiment | None:
    """The experiment that was run; None where the journal does not tell, or tells nonsense."""
    started = history.started
    if started is None:
        return None
    written = dict(started.experiment)
    try:
        written["method"] = [{key: step[key] for key in _STEP_KEYS if key in step} for step in written["method"]]
        return Experiment.model_validate(written, context={"probes": _dimensions(written)})
    except (ValidationError, KeyError, TypeError):
        return None


def _dimensions(written: Mapping[str, Any]) -> dict[str, Dimension | None]:
    """All probes asked about. A custom one has the dimension of what it was compared with: its unit was checked when
    the experiment was loaded.
    """
    queries = {name: Dimension(query["unit"]) for name, query in (written.get("queries") or {}).items()}
    known: dict[str, Dimension | None] = registry.dimensions(queries)
    for text in _expectations(written):
        match = _ASKED.match(text)
        if match is None or match[1] in known or match[1] == ALERT.rstrip("."):
            continue
        try:
            known[match[1]] = units.parse(match[2]).dimension if match[2] else None
        except ValueError:
            continue
    return known


def _expectations(written: Mapping[str, Any]) -> Iterator[str]:
    for key in ("steady-state", "expect", "abort-when"):
        yield from (str(text) for text in written.get(key) or ())
    for step in written.get("method") or ():
        if step.get("bites"):
            yield str(step["bites"])
