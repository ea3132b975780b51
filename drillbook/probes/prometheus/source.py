"""The Prometheus of a target: where it is, which engine's metrics it has, and what an experiment asks of it there."""

from __future__ import annotations

from dataclasses import dataclass

from drillbook.errors import UnreachableError
from drillbook.model.experiment import Experiment
from drillbook.probes.prometheus import engines, queries
from drillbook.probes.prometheus.client import Prometheus
from drillbook.probes.prometheus.engines import Engine
from drillbook.probes.prometheus.queries import Query
from drillbook.targets import monitoring
from drillbook.targets.target import Target


@dataclass(frozen=True)
class Source:
    """One Prometheus, looked at. ``skew``: seconds that its clock is ahead of this machine's."""

    url: str
    metrics: frozenset[str]
    engine: Engine | None
    queries: tuple[Query, ...]
    skew: float


async def find(experiment: Experiment, target: Target) -> Source | None:
    """The target's Prometheus; None where none is known.

    Raises:
        UnreachableError: there is one, and it does not answer.

    """
    url = await monitoring.prometheus(target)
    if url is None:
        return None
    client = Prometheus(url)
    try:
        skew = await client.skew()
        metrics = await client.metrics()
        engine = engines.detect(metrics)
        matchers = await _matchers(client, engine, target.namespace)
    finally:
        client.close()
    asked = tuple(queries.of(experiment, engine, matchers))
    return Source(url, frozenset(metrics), engine, asked, skew)


async def _matchers(client: Prometheus, engine: Engine | None, namespace: str) -> str:
    """Only the target's own series, where the scrape configuration tells namespaces apart."""
    if engine is None:
        return ""
    own = f'namespace="{namespace}"'
    try:
        return own if (await client.value(f"count({engine.detect}{{{own}}})")).value else ""
    except UnreachableError:
        return ""
