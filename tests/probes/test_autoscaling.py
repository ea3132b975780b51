"""The autoscaler's figures on histories whose every moment is known."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from histories import ZERO, Run, drill, served

from drillbook.model.events import ObjectChanged
from drillbook.model.history import Span
from drillbook.probes import autoscaling
from drillbook.probes.index import Indexed
from drillbook.probes.registry import PROBES
from drillbook.reports.cost import cost
from drillbook.reports.scaling import scaling
from drillbook.reports.stretches import Stretch

WHOLE = Span(ZERO, ZERO + 40)


def changed(run: Run, at: float, kind: str, name: str, role: str = "", change: str = "modified", **summary: Any) -> Run:
    event = ObjectChanged(
        change=change, kind=kind, name=name, uid=name, role=role, resource_version="1", summary=summary
    )
    return run.add(at, event, writer="kubernetes")


def deployment(run: Run, at: float, replicas: int) -> Run:
    return changed(run, at, "Deployment", "engines", "engine", desired=replicas, ready=2)


def autoscaler(
    run: Run, at: float, current: float | None, *, desired: int = 2, active: bool = True, **more: Any
) -> Run:
    metrics = {"running": {"target": 6.0, "current": current}}
    said = {"target": "deployment/engines", "max": 6, "desired": desired, "active": active, "metrics": metrics, **more}
    return changed(run, at, "HorizontalPodAutoscaler", "engines", **said)


def surge() -> Run:
    """Metric over target after 3 s, four engines asked for after 4 s, one of them ready after 9 s, back to two."""
    run = drill(lambda _: served())
    deployment(run, -10.0, 2)
    autoscaler(run, -10.0, 2.0)
    autoscaler(run, 3.0, 12.0)
    deployment(run, 4.0, 4)
    autoscaler(run, 4.0, 12.0, desired=4)
    run.pod(4.1, "new", ready=False, change="added", phase="Pending", node="", gpus=1)
    run.pod(4.5, "new", ready=False, phase="Pending", node="gpu-node-1", gpus=1)
    run.pod(6.0, "new", ready=False, phase="Running", node="gpu-node-1", gpus=1)
    run.pod(9.0, "new", ready=True, phase="Running", node="gpu-node-1", gpus=1)
    deployment(run, 30.0, 2)
    return run


def read(run: Run, name: str, window: Span = WHOLE) -> Any:
    return PROBES[name].read(Indexed.of(run.history), window)


def test_the_lag_of_a_surge_is_split_into_its_legs() -> None:
    legs = autoscaling.legs(Indexed.of(surge().history))
    ends = {leg.name: leg.end for leg in legs}
    assert ends["metric moved"] == pytest.approx(3.0)
    assert ends["desired raised"] == pytest.approx(4.0)
    assert ends["pod scheduled"] == pytest.approx(4.5)
    assert ends["process up"] == pytest.approx(6.0)
    assert all(later.start == earlier.end for earlier, later in pairwise(legs))


def test_scaling_up_and_down_are_events_at_their_moments() -> None:
    assert read(surge(), "scaled-up").value == pytest.approx(ZERO + 4.0)
    assert read(surge(), "scaled-down").value == pytest.approx(ZERO + 30.0)
    assert read(surge(), "scale-up-lag").value == pytest.approx(9.0)


def test_overshoot_counts_what_was_too_much_and_a_turn_is_one_flap() -> None:
    assert read(surge(), "overshoot").value == 2
    assert read(surge(), "overshoot", Span(ZERO, ZERO + 20)).value == 0
    assert read(surge(), "flapping").value == 1


def test_an_autoscaler_that_cannot_read_its_metric_is_blind_and_says_why() -> None:
    run = drill(lambda _: served())
    deployment(run, -10.0, 2)
    autoscaler(run, -10.0, 2.0)
    autoscaler(run, 5.0, None, active=False, reason="FailedGetPodsMetric", message="no metrics returned")
    autoscaler(run, 15.0, 2.0)
    seen = read(run, "autoscaler-blind")
    assert seen.value == pytest.approx(10.0)
    assert "FailedGetPodsMetric: no metrics returned" in seen.reason
    stuck = read(run, "scale-up-lag")
    assert stuck.value is not None
    assert not stuck.complete
    assert stuck.at_least
    assert "cannot read its metrics" in stuck.reason


def test_a_pod_that_no_node_takes_is_pending_and_the_scheduler_is_heard() -> None:
    run = drill(lambda _: served())
    deployment(run, -10.0, 2)
    autoscaler(run, -10.0, 12.0)
    deployment(run, 4.0, 3)
    run.pod(4.1, "new", ready=False, change="added", phase="Pending", node="")
    message = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
    changed(run, 4.2, "Event", "e", change="added", reason="FailedScheduling", message=message, object="pod/new")
    assert read(run, "pending-engines").high == 1
    assert message in read(run, "scale-up-lag").reason


def test_without_an_autoscaler_nothing_is_claimed() -> None:
    run = deployment(drill(lambda _: served()), -10.0, 2)
    blind = read(run, "autoscaler-blind")
    assert blind.value is None
    assert not blind.complete
    assert scaling(Indexed.of(run.history)) is None


def test_the_report_tells_what_stood_in_the_way() -> None:
    told = scaling(Indexed.of(surge().history))
    assert told is not None
    assert (told.before, told.most, told.last, told.overshoot) == (2, 4, 2, 2)
    assert told.moved
    run = autoscaler(autoscaler(deployment(drill(lambda _: served()), -10.0, 2), -10.0, 3.0), 5.0, 6.0)
    stuck = scaling(Indexed.of(run.history))
    assert stuck is not None
    assert not stuck.moved
    assert "never rose above its target" in stuck.cause


def test_gpu_seconds_are_told_by_what_their_pods_did() -> None:
    run = drill(lambda _: served(tokens=5))
    run.pod(0.0, "a", ready=False, change="added", phase="Pending", node="", gpus=2)
    run.pod(5.0, "a", ready=False, phase="Running", node="n", gpus=2)
    run.pod(10.0, "a", ready=True, phase="Running", node="n", gpus=2)
    index = Indexed.of(run.history)
    told = cost(index, [Stretch(name="during", start=0.0, end=20.0)])
    assert told is not None
    (row,) = told.stretches
    assert row.gpu_seconds == {"starting": pytest.approx(10.0), "ready": pytest.approx(20.0)}
    assert told.wasted == pytest.approx(10.0)
    assert row.per_million == pytest.approx(30.0 / 3600 / row.tokens * 1e6)
