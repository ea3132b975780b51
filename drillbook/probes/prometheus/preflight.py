"""Proves before anything is touched that every query and every alert of an experiment can tell something.

A label that vLLM does not have (``model`` for ``model_name``) makes a query empty, and an empty query never alarms:
autoscalers and alerts on real clusters were blind for months that way.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Iterable

from drillbook import clock
from drillbook.errors import UnreachableError
from drillbook.model.experiment import Experiment
from drillbook.probes.prometheus import engines, promql, queries
from drillbook.probes.prometheus.client import Prometheus
from drillbook.probes.prometheus.queries import Query
from drillbook.probes.prometheus.source import Source

PATIENCE = 12.0
"""Seconds that a query may need until it answers: a rate needs two scrapes."""
NONE = "no Prometheus is known here: give target.prometheus, or drop what is asked of it"


async def problems(experiment: Experiment, source: Source) -> list[str]:
    """Everything that would keep a query or an alert from telling anything, in words; empty: all of it answers.

    Raises:
        UnreachableError: Prometheus does not answer.

    """
    client = Prometheus(source.url)
    try:
        found = list(_unknown_builtins(experiment, source))
        for query in source.queries:
            found += [f"query {query.name}: {problem}" for problem in await _query(query, client, source.metrics)]
        found += await _rules(queries.alerts(experiment), client)
    finally:
        client.close()
    return found


def _unknown_builtins(experiment: Experiment, source: Source) -> Iterable[str]:
    answered = {query.name for query in source.queries}
    for name in queries.builtin(experiment):
        if name in answered:
            continue
        if source.engine is None:
            known = ", ".join(engine.title for engine in engines.engines())
            yield f"{name}: no metrics of a known engine are in {source.url} (it knows {known})"
        else:
            yield f"{name}: {source.engine.title} has no metric for it: {source.engine.missing.get(name, '')}"


async def _query(query: Query, client: Prometheus, metrics: frozenset[str]) -> list[str]:
    wrong = [problem for selector in promql.selectors(query.promql) if (problem := _metric(selector.name, metrics))]
    if wrong:
        return wrong
    for selector in promql.selectors(query.promql):
        wrong += await _labels(selector, client)
    if wrong:
        return wrong
    deadline = clock.monotonic() + PATIENCE
    while True:
        answer = await client.value(query.promql)
        if not answer.empty or clock.monotonic() > deadline:
            break
        await asyncio.sleep(0.5)
    if answer.empty:
        filtered = any(sign in query.promql for sign in "<>")
        why = "; a comparison drops what it does not hold of: write `bool` behind it" if filtered else ""
        return [f"it answers nothing{why}: {query.promql}"]
    # NaN is an answer before there were requests: 0 of 0. What it is in the run is for the run to say.
    return (
        []
        if answer.value is not None or answer.error.startswith("it gives NaN")
        else [f"{answer.error}: {query.promql}"]
    )


def _metric(name: str, metrics: frozenset[str]) -> str:
    if not name or name in metrics:
        return ""
    return f"Prometheus has no series called {name}{_near(name, metrics)}"


async def _labels(selector: promql.Selector, client: Prometheus) -> list[str]:
    """Labels that its metric does not have, and selectors that match nothing."""
    if not selector.name or not selector.labels:
        return []
    known = [label for label in await client.labels(selector.name) if label != "__name__"]
    unknown = [label for label in selector.labels if label not in known]
    if unknown:
        every = f" (it has {', '.join(known)})" if known else ""
        return [f"{selector.name} has no label {label!r}{every}{_near(label, known)}" for label in unknown]
    return []


async def _rules(asked: list[str], client: Prometheus) -> list[str]:
    if not asked:
        return []
    rules = await client.rules()
    names = {str(rule["name"]) for rule in rules}
    found = [f"Prometheus has no alert rule called {name}{_near(name, names)}" for name in asked if name not in names]
    failing = [rule for rule in rules if rule["name"] in asked and rule.get("health") == "err"]
    return found + [f"the rule {rule['name']} cannot be evaluated: {rule.get('lastError')}" for rule in failing]


def _near(word: str, known: Iterable[str]) -> str:
    # a label that was cut short is nearer to what it was cut from than letters tell
    close = [name for name in known if name.startswith(word) or name.endswith(word)][:2]
    close = close or difflib.get_close_matches(word, list(known), n=2, cutoff=0.6)
    return f"; did you mean {' or '.join(close)}?" if close else ""


async def answers(experiment: Experiment, source: Source | None) -> tuple[bool, str]:
    """Whether what the experiment asks can be answered, and the sentence for the journal."""
    if source is None:
        return False, NONE
    try:
        wrong = await problems(experiment, source)
    except UnreachableError as error:
        return False, error.message
    if wrong:
        return False, "; ".join(wrong)
    asked = [*(query.name for query in source.queries), *(f"alert {name}" for name in queries.alerts(experiment))]
    return True, f"{source.url} answers for {', '.join(asked)}" if asked else f"{source.url} answers"
