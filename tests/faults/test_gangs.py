"""One pod of a group that is hit takes the group along, and the token capacity that is left says so."""

from __future__ import annotations

import control_plane as planes
import pytest
from striking import planned

from drillbook.errors import PreflightError
from drillbook.faults import blast, gangs
from drillbook.model.experiment import Limits


def engine(name: str, group: str = "", gpus: int = 1, phase: str = "Running") -> dict:
    marks = {"leaderworkerset.sigs.k8s.io/name": "m", "leaderworkerset.sigs.k8s.io/group-index": group}
    limits = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {
        "metadata": {"name": name, "namespace": "llm", "uid": name, "labels": marks if group else {}},
        "spec": {"containers": [{"name": "vllm", "resources": limits}]},
        "status": {"phase": phase},
    }


def test_capacity_counts_the_gpus_of_gangs_that_stay_whole():
    fleet = [engine("a0", "0", 8), engine("a1", "0", 8), engine("b0", "1", 8), engine("b1", "1", 8)]
    assert gangs.capacity_left(fleet, {"a1"}) == 0.5
    assert gangs.capacity_left([*fleet, engine("small", gpus=4)], {"a0"}) == pytest.approx(20 / 36)
    assert gangs.capacity_left(fleet, {"a0", "b0"}) == 0.0
    assert gangs.capacity_left([engine("x", gpus=0), engine("y", gpus=0)], {"x"}) == 0.5


def test_a_gang_with_a_member_that_does_not_run_has_no_capacity_to_lose():
    fleet = [engine("a0", "0"), engine("a1", "0", phase="Pending"), engine("b0", "1"), engine("b1", "1")]
    assert gangs.capacity_left(fleet, set()) == 0.5


async def test_hitting_one_pod_of_a_group_is_counted_as_the_group(target, kube, namespace):
    for number in range(4):
        marks = {"leaderworkerset.sigs.k8s.io/name": "m", "leaderworkerset.sigs.k8s.io/group-index": str(number // 2)}
        await planes.make_pod(kube, f"m-{number}", namespace, gpus=2, labels=planes.LABELS | marks)
    plan = await planned(target, "pod-kill", names=["m-1"])
    assert (plan.radius.pods, plan.radius.gpus, plan.radius.capacity_left) == (2, 4, 0.5)
    assert (await blast.check([plan], Limits(), target)).gpus == 4
    with pytest.raises(PreflightError, match="2 replicas"):
        await blast.check([plan], Limits(replicas=1), target)
