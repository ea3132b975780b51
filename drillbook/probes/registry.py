"""All probes that come with drillbook, by name, and the way to a custom one's readings."""

from __future__ import annotations

from collections.abc import Mapping

from drillbook.model.expectation import ALERT
from drillbook.model.units import Dimension
from drillbook.probes import (
    alerts,
    autoscaling,
    batching,
    capacity,
    guardrail,
    moments,
    observed,
    requests,
    rollout,
    routing,
    sessions,
)
from drillbook.probes.observed import LiveProbe
from drillbook.probes.prometheus import engines
from drillbook.probes.reading import Probe

_PROMETHEUS: tuple[Probe, ...] = tuple(
    LiveProbe(name, dimension, text) for name, (dimension, text) in engines.NAMES.items()
)
_SOURCES: tuple[tuple[Probe, ...], ...] = (
    requests.PROBES,
    capacity.PROBES,
    autoscaling.PROBES,
    rollout.PROBES,
    routing.PROBES,
    sessions.PROBES,
    batching.PROBES,
    observed.PROBES,
    moments.PROBES,
    guardrail.PROBES,
    _PROMETHEUS,
)

PROBES: Mapping[str, Probe] = {probe.name: probe for probes in _SOURCES for probe in probes}


def dimensions(custom: Mapping[str, Dimension] | None = None) -> dict[str, Dimension | None]:
    """What expectations are parsed with: every probe's dimension, None for an event. ``custom`` adds those of a site;
    a name of ours cannot be taken.
    """
    return {**(custom or {}), **{name: probe.dimension for name, probe in PROBES.items()}}


def lookup(name: str, dimension: Dimension | None) -> Probe:
    """The probe of an expectation. One that does not come with drillbook is read off what it observed live."""
    if name.startswith(ALERT):
        return alerts.Fires(name) if dimension is None else alerts.Firing(name)
    return PROBES.get(name) or LiveProbe(name, dimension or Dimension.COUNT)
