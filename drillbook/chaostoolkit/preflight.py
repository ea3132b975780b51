"""All that can be known before anything is touched: modules, functions and their arguments, programs, controls."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator

from drillbook.chaostoolkit.load import ChaosExperiment, Json, activities, controls
from drillbook.chaostoolkit.providers import process, python
from drillbook.chaostoolkit.providers.error import ActivityError
from drillbook.errors import PreflightError


def check(experiment: ChaosExperiment) -> None:
    """Import what will be called, find what will be run. The file must be trusted by now: importing is executing.

    Raises:
        PreflightError: with everything that is missing.

    """
    missing = list(dict.fromkeys([*_controls(experiment.data), *_activities(experiment.data)]))
    if missing:
        raise PreflightError(
            f"{experiment.path} cannot be run here: " + "; ".join(missing),
            "nothing was touched; a module is installed beside drillbook (pip install …), or lies on PYTHONPATH",
        )


def _controls(data: Json) -> Iterator[str]:
    known = {control["name"] for control in controls(data) if "provider" in control}
    for control in controls(data):
        if "provider" not in control:
            if control.get("ref") not in known:
                yield f"no control is called {control.get('ref')!r}"
            continue
        try:
            module = importlib.import_module(control["provider"]["module"])
            validate = getattr(module, "validate_control", None)
            if validate is not None:
                validate(control)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - importing and validating execute a user's code
            yield f"the control {control['name']!r}: {type(error).__name__}: {error}"


def _activities(data: Json) -> Iterator[str]:
    for activity in activities(data):
        provider = activity.get("provider", {})
        name = activity.get("name")
        if provider.get("type") == "python":
            try:
                wrong = python.misfit(provider)
            except ActivityError as error:
                wrong = str(error)
            if wrong:
                yield f"{activity['type']} {name!r}: {wrong}"
        elif provider.get("type") == "process":
            program = process.find(provider["path"])
            if program is None or not os.access(program, os.X_OK):
                yield f"{activity['type']} {name!r}: there is no program {provider['path']!r}"
