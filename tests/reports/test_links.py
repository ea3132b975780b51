"""Dose and response of a link, from a history whose every token is known."""

from __future__ import annotations

import re
from dataclasses import asdict

import msgspec
import pytest
from histories import Run, served

from drillbook.helper.shaping import Setting
from drillbook.model.events import FaultChanged, FaultState, Observed, Planned
from drillbook.probes.index import Indexed
from drillbook.probes.names import LINK_RATE
from drillbook.reports.caveats import _links as link_caveats
from drillbook.reports.charts.dose import dose
from drillbook.reports.links import links

FAULT = "0-link-throttle"
GAPS = {"before": 0.02, "2 Mbit/s": 0.04, "500 kbit/s": 0.2, "after": 0.02}


def gap(at: float) -> float:
    """What a user of that moment waits between two tokens; answers of a stage end before the next one begins."""
    return (
        GAPS["before"] if at < 0 else GAPS["2 Mbit/s"] if at < 10 else GAPS["500 kbit/s"] if at < 20 else GAPS["after"]
    )


@pytest.fixture
def throttled() -> Indexed:
    run = Run().start((FAULT,), hold=20.0)
    steps = [(0.0, asdict(Setting("throttle", rate=2e6))), (10.0, asdict(Setting("throttle", rate=5e5)))]
    options = {
        "steps": steps,
        "driver": "helper",
        "transport": "Gloo over TCP",
        "evidence": "backend=gloo",
        "spared": [8080],
    }
    for place, line in enumerate(run.lines):
        if isinstance(line.event, Planned):
            (fault,) = line.event.plan.faults
            plan = msgspec.structs.replace(line.event.plan, faults=(msgspec.structs.replace(fault, options=options),))
            run.lines[place] = msgspec.structs.replace(line, event=Planned(plan=plan))
    run.add(-0.5, measured(2e9, -1), "observer")
    run.inject(0.0, FAULT)
    for at, rate in ((3.0, 1.9e6), (7.0, 2.1e6), (14.0, 4.8e5)):
        run.add(at, measured(rate, 0 if at < 10 else 1), "observer")
    run.add(20.0, FaultChanged(id=FAULT, state=FaultState.UNDOING))
    run.add(21.0, FaultChanged(id=FAULT, state=FaultState.UNDONE))
    run.health(replica="vllm-0")
    run.load(lambda at: served(gap=gap(at), tokens=5), rate=2.0)
    return Indexed.of(run.end(at=30.0).history)


def measured(rate: float, step: int) -> Observed:
    return Observed(probe=LINK_RATE, value=rate, labels={"step": str(step), "peer": "10.0.0.2", "lost": "0.0000"})


def test_each_step_has_its_own_response(throttled: Indexed) -> None:
    (found,) = links(throttled)
    assert [stage.name for stage in found.stages] == list(GAPS)
    for stage in found.stages:
        assert stage.itl_p50 == pytest.approx(GAPS[stage.name], abs=1e-3)
        assert stage.slower == pytest.approx(GAPS[stage.name] / 0.02, rel=0.05) or stage.kind == "before"
        assert stage.gaps > 20
    assert [stage.rate for stage in found.stages] == [None, 2e6, 5e5, None]


def test_what_was_measured_stands_in_the_step_it_was_measured_in(throttled: Indexed) -> None:
    (found,) = links(throttled)
    assert [stage.measured for stage in found.stages] == [2e9, pytest.approx(2e6), pytest.approx(4.8e5), None]
    assert all(stage.health_p50 is not None for stage in found.stages)


def test_the_chart_says_in_words_what_it_draws(throttled: Indexed) -> None:
    (found,) = links(throttled)
    drawn = str(dose(found))
    assert "before: 20ms; 2 Mbit/s: 40ms; 500 kbit/s: 200ms; after: 20ms" in drawn
    heights = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"', drawn)]
    assert len(heights) == 4
    assert heights[2] < heights[1] < heights[0] == heights[3]  # y grows downwards


def test_a_run_without_links_says_nothing_of_them() -> None:
    run = Run().start().inject().load()
    assert links(Indexed.of(run.end().history)) == ()
    assert link_caveats(run.history) == []


def test_the_report_says_over_what_it_was_shown(throttled: Indexed) -> None:
    (caveat,) = link_caveats(throttled)
    assert caveat.startswith("Shown on Gloo over TCP.")
    assert "NET/Socket" in caveat
    assert "this run did not show it" in caveat
