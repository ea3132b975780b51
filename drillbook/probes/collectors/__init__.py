"""What looks on while a run is live, and writes events: the Kubernetes watch, the health poller, custom probes."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from drillbook import catalog, site
from drillbook.model.events import AnyEvent
from drillbook.model.experiment import Experiment
from drillbook.probes import batching, registry, routing
from drillbook.probes.collectors import engines, prometheus
from drillbook.probes.collectors.custom import Sampler
from drillbook.probes.collectors.evidence import EvidenceKeeper
from drillbook.probes.collectors.health import HealthPoller
from drillbook.probes.collectors.kinds import KINDS
from drillbook.probes.collectors.kubernetes import KubernetesWatcher
from drillbook.probes.collectors.links import LinkListener
from drillbook.probes.collectors.routers import RouterPoller
from drillbook.probes.custom import CustomProbe, declared_in
from drillbook.probes.prometheus.queries import questions
from drillbook.targets.target import Target

SERIES = {**routing.SERIES, **batching.SERIES}
"""What of the engines' own account is read only where one of these probes is asked: at fleet size each series costs."""

Instrument = Callable[[], Awaitable[None]]
"""Observes until it is cancelled."""


class Observers(NamedTuple):
    """Everything that observes a run: each fails alone."""

    instruments: list[Instrument]
    first_look: Callable[[], Awaitable[object]]
    """Returns once all that was there when they began is written down: before, pods that are there seem to be missing.
    """


async def observers(
    experiment: Experiment, target: Target, emit: Callable[[AnyEvent], object], evidence: EvidenceKeeper
) -> Observers:
    """What observes this run.

    Raises:
        UsageError: a custom probe that the experiment asks for is not trusted, or fails when loaded.
        UnreachableError: the endpoint does not answer.

    """
    samplers = [Sampler(probe, target, emit) for probe in custom_probes(experiment)]
    watcher = KubernetesWatcher(target.kube, target, emit, evidence.notice)
    asked = {each.probe for each in questions(experiment)}
    series = {name for probe, names in SERIES.items() if probe in asked for name in names}
    poller = HealthPoller(await target.endpoint(), watcher.engines, emit, engines.ALWAYS | series)
    routers = RouterPoller(watcher.routers, emit)
    watches = [functools.partial(watcher.follow, kind) for kind in KINDS]
    linked = any(step.fault.startswith("link-") for step in experiment.method)
    listening = [LinkListener(target, emit).run] if linked else []
    asking = await prometheus.instruments(experiment, target, emit)
    return Observers(
        [*watches, evidence.run, poller.run, routers.run, *listening, *asking, *(sampler.run for sampler in samplers)],
        watcher.listed.wait,
    )


def custom_probes(experiment: Experiment) -> list[CustomProbe]:
    """The custom probes that the experiment asks for; nobody else's Python is executed.

    Raises:
        UsageError: the file is not trusted, or fails when loaded.

    """
    wanted = {each.probe for each in questions(experiment)} - set(registry.PROBES)
    found: dict[str, CustomProbe] = {}
    for entry in catalog.entries("probes") if wanted else ():
        if entry.path.suffix == ".py" and wanted & set(catalog.declarations(entry.path)):
            for probe in declared_in(site.load(entry.path)):
                if probe.name in wanted:
                    found.setdefault(probe.name, probe)
    return list(found.values())
