"""From a file to a Chaos Toolkit experiment that is known to make sense, or to all its problems with their lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drillbook import site
from drillbook.chaostoolkit import checks
from drillbook.document import reading
from drillbook.document.node import Document
from drillbook.errors import InvalidFileError

Json = dict[str, Any]

_MARKS = ("steady-state-hypothesis", "rollbacks", "description", "contributions")
_OURS = ("load", "steady-state", "expect", "target")


@dataclass(frozen=True)
class ChaosExperiment:
    """A Chaos Toolkit experiment, checked. ``data`` is as it was written."""

    data: Json
    source: str
    path: Path
    sha256: str

    @property
    def executes(self) -> list[str]:
        """What it would run of its own: the Python modules and the programs that it names."""
        found = [f"{item['provider']['module']} (control)" for item in controls(self.data) if "provider" in item]
        for provider in providers(self.data):
            if provider["type"] == "python":
                found.append(f"{provider['module']}.{provider['func']}")
            elif provider["type"] == "process":
                found.append(str(provider["path"]))
        return list(dict.fromkeys(found))


def is_chaos_toolkit(path: Path) -> bool:
    """Whether a file is meant as a Chaos Toolkit experiment rather than as one of drillbook's own."""
    if path.suffix == ".json":
        return True
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        return False
    value = reading.read(path).value
    found = value.get("method")
    steps = [step for step in found if isinstance(step, dict)] if isinstance(found, list) else []
    if any("provider" in step or "ref" in step for step in steps):
        return True
    return any(mark in value for mark in _MARKS) and not any(key in value for key in _OURS)


def load(path: Path) -> ChaosExperiment:
    """Read and check. Nothing is executed.

    Raises:
        InvalidFileError: with every problem of the file.

    """
    document = _read(path)
    if document.root is not None:
        document.problems += checks.problems(document)
    if document.root is None or document.problems:
        found = dict.fromkeys(document.problems)
        raise InvalidFileError.of(path, sorted(found, key=lambda each: (each.line or 1 << 30, each.column)))
    return ChaosExperiment(document.value, document.text, path, document.sha256)


def must_be_trusted(experiment: ChaosExperiment) -> None:
    """Refuse to execute what nobody has vouched for.

    Raises:
        UntrustedError: it names Python or programs, and its content was never trusted.

    """
    if experiment.executes:
        site.must_trust(experiment.path, experiment.sha256, f"it executes {', '.join(experiment.executes[:5])}")


def activities(data: Mapping[str, Any]) -> Iterator[Json]:
    """All activities that could run, those inside tolerances and the configuration too; a ``ref`` stands for itself."""
    hypothesis = data.get("steady-state-hypothesis") or {}
    measured = [entry for entry in (data.get("configuration") or {}).values() if _is_probe(entry)]
    for activity in (*measured, *(hypothesis.get("probes") or ()), *data["method"], *(data.get("rollbacks") or ())):
        yield activity
        if _is_probe(activity.get("tolerance")):
            yield activity["tolerance"]


def providers(data: Mapping[str, Any]) -> Iterator[Json]:
    return (activity["provider"] for activity in activities(data) if "provider" in activity)


def controls(data: Mapping[str, Any]) -> Iterator[Json]:
    """All controls, of the experiment, its hypothesis and its activities."""
    yield from data.get("controls") or ()
    yield from (data.get("steady-state-hypothesis") or {}).get("controls") or ()
    for activity in activities(data):
        yield from activity.get("controls") or ()


def _is_probe(value: object) -> bool:
    return isinstance(value, dict) and value.get("type") == "probe"


def _read(path: Path) -> Document:
    if path.suffix != ".json":
        return reading.read(path)
    whole = reading.read(path)
    if not whole.problems or "\t" not in whole.text:
        return whole
    # JSON may be indented with tabs, YAML may not: as many blanks keep every place where it is.
    blanks = re.sub(r"^[ \t]+", lambda found: " " * len(found.group()), whole.text, flags=re.MULTILINE)
    document = reading.parse(blanks.encode(), str(path))
    document.sha256 = whole.sha256
    return document
