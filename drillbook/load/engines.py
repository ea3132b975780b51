"""Which generator carries out an experiment's ``load``: drillbook's own, or Locust in one process or in several."""

from __future__ import annotations

import msgspec

from drillbook.load.config import GeneratorConfig
from drillbook.load.locust.config import LocustConfig
from drillbook.load.locust.process import LocustFleet, LocustGenerator, check_installed
from drillbook.load.process import Generator
from drillbook.model.experiment import LoadSpec


def generator(spec: LoadSpec, config: GeneratorConfig) -> Generator:
    """The handle on what ``spec`` asks for; nothing is started yet."""
    if spec.engine == "drillbook":
        return Generator(config)
    through_locust = LocustConfig(**msgspec.structs.asdict(config), workers=spec.workers)
    return LocustGenerator(through_locust) if spec.workers == 1 else LocustFleet(through_locust)


def check(spec: LoadSpec) -> None:
    """Refuse an engine that is not here.

    Raises:
        UsageError: says how to get it.

    """
    if spec.engine == "locust":
        check_installed()


def told(spec: LoadSpec) -> str:
    """The engine, for people."""
    if spec.engine == "drillbook":
        return "drillbook"
    return "Locust" if spec.workers == 1 else f"Locust, a master and {spec.workers} workers"
