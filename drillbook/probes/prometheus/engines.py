"""The same probes over every engine's own metrics: ``prom.queue-depth`` is asked of vLLM and of SGLang alike.

One file an engine in ``engines/``. Which engine is there is told by the series that Prometheus has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

import yaml
from pydantic import BaseModel, ConfigDict

from drillbook.model.units import Dimension

PREFIX = "prom."
NAMES: Mapping[str, tuple[Dimension, str]] = {
    "prom.goodput": (Dimension.SHARE, "share of requests that the engines count as ended well"),
    "prom.requests": (Dimension.RATE, "requests that ended, by the engines' count"),
    "prom.tokens": (Dimension.RATE, "tokens generated, by the engines' count"),
    "prom.ttft.p50": (Dimension.DURATION, "median time to the first token, by the engines' histogram"),
    "prom.ttft.p95": (Dimension.DURATION, "95th percentile of it"),
    "prom.itl.p95": (Dimension.DURATION, "95th percentile of the time between tokens, by the engines' histogram"),
    "prom.e2e.p95": (Dimension.DURATION, "95th percentile of the time of a whole request"),
    "prom.queue-depth": (Dimension.COUNT, "requests that wait in the engines' queues"),
    "prom.running": (Dimension.COUNT, "requests that the engines work on"),
    "prom.kv-use": (Dimension.SHARE, "share of the KV cache in use, of the fullest engine"),
}
"""Every built-in name with what it counts. An engine that has no metric for one of them leaves it out."""
SCOPE = "$scope"
"""Stands in each query where the label matchers of the target's namespace go."""


class Engine(BaseModel):
    """One engine's queries by probe."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str
    title: str
    source: str
    """Where its metrics are documented."""
    detect: str
    """A metric that it and no other engine has."""
    queries: dict[str, str]
    missing: dict[str, str] = {}
    """Why it has no query for a probe."""


@cache
def engines() -> tuple[Engine, ...]:
    """All engines, vLLM first: a stack that fronts it may give metrics of its own beside it."""
    folder = resources.files("drillbook.probes.prometheus") / "engines"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".yaml")), key=lambda file: file.name)
    found = [
        Engine.model_validate({"name": file.name.removesuffix(".yaml"), **yaml.safe_load(file.read_text("utf-8"))})
        for file in files
    ]
    return tuple(sorted(found, key=lambda engine: engine.name != "vllm"))


def detect(metrics: Iterable[str]) -> Engine | None:
    """The engine whose metrics these are; None where none is known by them."""
    known = set(metrics)
    return next((engine for engine in engines() if engine.detect in known), None)


def scoped(promql: str, matchers: str) -> str:
    """The query with its label matchers put in, such as ``namespace="llm"``; empty: every series."""
    return promql.replace(f"{SCOPE},", f"{matchers}," if matchers else "").replace(SCOPE, matchers)
