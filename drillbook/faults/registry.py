"""All faults by name: every module of this package that defines ``FAULT``. To add a fault is to add a file."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from drillbook import faults as package
from drillbook.faults.fault import Fault
from drillbook.model.experiment import Step


def _discover() -> Mapping[str, Fault]:
    found: dict[str, Fault] = {}
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        if module.name != "registry":
            fault = getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "FAULT", None)
            if fault is not None:
                found[fault.name] = fault
    return MappingProxyType(found)


FAULTS: Mapping[str, Fault] = _discover()
"""Name to fault, in the order of the modules' names."""


def step_types() -> tuple[type[Step], ...]:
    """The step type of every fault, for the schema of an experiment."""
    return tuple(fault.step for fault in FAULTS.values())
