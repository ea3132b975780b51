"""What holds for every experiment that drillbook ships."""

from __future__ import annotations

import pytest

from drillbook import catalog
from drillbook.experiments.load import load
from drillbook.probes import registry

SHIPPED = {entry.name: entry.path for entry in catalog.entries("experiments") if entry.path.suffix == ".yaml"}


@pytest.mark.parametrize("name", SHIPPED)
def test_its_baseline_has_requests_to_spare_for_what_its_steady_state_asks(name):
    """Arrivals are random: with as many expected as are needed, every second run would be inconclusive."""
    experiment = load(SHIPPED[name]).experiment
    needed = max(
        getattr(registry.lookup(each.probe, each.dimension), "min_samples", 0) for each in experiment.steady_state
    )
    assert experiment.load.rate * experiment.baseline >= 1.5 * needed
