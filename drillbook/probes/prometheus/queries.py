"""What an experiment asks of Prometheus: its own queries, the built-in ``prom.*`` probes, and alerts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drillbook.model.expectation import Expectation
from drillbook.model.experiment import Experiment
from drillbook.model.units import Dimension
from drillbook.probes.prometheus import engines, promql
from drillbook.probes.prometheus.engines import Engine


@dataclass(frozen=True)
class Query:
    """One probe in PromQL."""

    name: str
    promql: str
    dimension: Dimension

    @property
    def age(self) -> str:
        """A query for the age of the oldest series that this one reads, in seconds; empty where it reads none."""
        ages = [
            f'label_replace(time() - timestamp({selector.text}), "drillbook", "{number}", "", "")'
            for number, selector in enumerate(promql.selectors(self.promql))
        ]
        return f"max({' or '.join(ages)})" if ages else ""


def questions(experiment: Experiment) -> Iterator[Expectation]:
    """Everything that is asked of probes anywhere in the experiment."""
    yield from (*experiment.steady_state, *experiment.expect, *experiment.abort_when)
    yield from (step.bites for step in experiment.method if step.bites is not None)


def builtin(experiment: Experiment) -> list[str]:
    """The ``prom.*`` probes that it asks of, without those that it defines itself."""
    asked = dict.fromkeys(each.probe for each in questions(experiment))
    return [name for name in asked if name in engines.NAMES and name not in experiment.queries]


def alerts(experiment: Experiment) -> list[str]:
    """The alerts that it speaks of."""
    return list(dict.fromkeys(each.alert for each in questions(experiment) if each.alert))


def needed(experiment: Experiment) -> bool:
    """Whether it asks anything of Prometheus at all."""
    return bool(experiment.queries or builtin(experiment) or alerts(experiment))


def of(experiment: Experiment, engine: Engine | None, matchers: str) -> list[Query]:
    """Every query of the experiment; built-in ones that the engine has no metric for are left out."""
    found = [Query(name, spec.promql, Dimension(spec.unit)) for name, spec in experiment.queries.items()]
    for name in builtin(experiment):
        if engine is not None and name in engine.queries:
            dimension, _ = engines.NAMES[name]
            found.append(Query(name, " ".join(engines.scoped(engine.queries[name], matchers).split()), dimension))
    return found
