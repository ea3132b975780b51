"""Which generator carries out an experiment's ``load``: drillbook's own, or Locust in one process or in several."""

from __future__ import annotations

import msgspec

from drillbook.load.config import GeneratorConfig
from drillbook.load.locust.config import LocustConfig, check_installed
from drillbook.load.locust.place import HERE
from drillbook.load.locust.pods import Pods
from drillbook.load.locust.process import LocustFleet, LocustGenerator
from drillbook.load.process import Generator
from drillbook.model.experiment import LoadSpec
from drillbook.targets.target import Target


def generator(spec: LoadSpec, config: GeneratorConfig, pods: Pods | None = None) -> Generator:
    """The handle on what ``spec`` asks for; nothing is started yet."""
    if spec.engine == "drillbook":
        return Generator(config)
    through_locust = LocustConfig(**msgspec.structs.asdict(config), workers=spec.workers)
    if pods is not None:
        return LocustFleet(msgspec.structs.replace(through_locust, base_url=pods.url), pods)
    return LocustGenerator(through_locust, HERE) if spec.workers == 1 else LocustFleet(through_locust, HERE)


async def pods(spec: LoadSpec, target: Target, *, run_id: str, seconds: float) -> Pods | None:
    """The pods that ``spec`` asks for, of a run that takes ``seconds`` at most; None where it asks for none.

    Raises:
        UnreachableError: it is not known where pods reach the target.

    """
    return await Pods.of(spec, target, run_id=run_id, seconds=seconds) if spec.place == "pods" else None


def check(spec: LoadSpec) -> None:
    """Refuse an engine that is not here. In pods it comes with their image.

    Raises:
        UsageError: says how to get it.

    """
    if spec.engine == "locust" and spec.place == "processes":
        check_installed()


def told(spec: LoadSpec) -> str:
    """The engine, for people."""
    if spec.engine == "drillbook":
        return "drillbook"
    if spec.place == "processes" and spec.workers == 1:
        return "Locust"
    count = f"{spec.workers} worker{'s' if spec.workers > 1 else ''}"
    return f"Locust, a master and {count}" + (", in pods of the cluster" if spec.place == "pods" else "")
