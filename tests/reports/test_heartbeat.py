"""The sign of an engine that has requests and makes no step, also of one that stopped while it had none."""

from __future__ import annotations

import pytest
from histories import Run

from drillbook.model.events import Observed
from drillbook.probes.index import Indexed
from drillbook.probes.names import ITERATIONS, RUNNING, SENT
from drillbook.reports.heartbeat import heartbeat

SECONDS = range(-10, 31)


def hung(running: float, sent: bool, steps_until: int = 0) -> list[tuple[float, bool]]:
    """One engine that makes no step from ``steps_until`` on; what its gauge and its router say from then on."""
    run = Run().start().pods(0).pod(-10, "e0", change="present", ip="10.0.0.7").inject()
    for second in SECONDS:
        well = second <= steps_until
        run.observe(RUNNING, {second + 0.1: 1.0 if well else running}, replica="e0")
        run.observe(ITERATIONS, {second + 0.1: float(min(second, steps_until))}, replica="e0")
        count = second + 11 if sent or well else steps_until + 11
        for part in (0.0, 0.5):
            labels = {"router": "r", "10.0.0.7": str(count)}
            run.add(second + part, Observed(probe=SENT, value=float(count), labels=labels), "observer")
    return heartbeat(Indexed.of(run.history))


def turned(beats: list[tuple[float, bool]]) -> float | None:
    return next((at for at, well in beats if not well), None)


def test_an_engine_that_stopped_with_requests_running_is_seen_five_seconds_later():
    assert turned(hung(running=2.0, sent=False)) == pytest.approx(5.1)


def test_an_engine_that_stopped_while_idle_is_seen_by_what_the_router_sends_it():
    """As vLLM 0.32 did in a cut link: its gauge of running requests is told with each step, and stayed at zero."""
    assert turned(hung(running=0.0, sent=True)) == pytest.approx(6.1)


def test_an_idle_engine_that_is_sent_nothing_is_well():
    assert turned(hung(running=0.0, sent=False)) is None


def test_an_engine_that_steps_is_well_whatever_it_is_sent():
    assert turned(hung(running=1.0, sent=True, steps_until=30)) is None
