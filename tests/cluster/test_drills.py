"""The shipped drills, unchanged, against real vLLM on a real cluster: each to its report, with nothing left behind."""

from __future__ import annotations

from pathlib import Path

import pytest
import vllm_cluster
import yaml

from drillbook.faults import process_hang
from drillbook.faults.fault import Draw
from drillbook.model.experiment import HelperSpec, TargetSpec
from drillbook.model.undo import EntryState
from drillbook.targets import processes
from drillbook.targets.target import open_target
from drillbook.undo.operations import carry_out

pytestmark = [pytest.mark.cluster, pytest.mark.vllm]

OWN = Path(__file__).parent / "experiments"


def test_a_killed_pod_is_replaced_and_its_recovery_is_split(run):
    judgement, found, folder = run("pod-kill")
    assert found["bites"] == ["bit"]
    assert found["capacity back"] is not None
    legs = {leg["name"]: leg["end"] - leg["start"] for leg in judgement["clocks"]["recovery"] if leg["end"] is not None}
    assert legs["model loaded"] > 5, "real vLLM does not load a model in less"
    assert list(folder.glob("evidence/*/vllm.log")), "the log of the victim is kept"


def test_a_hung_engine_stays_green_while_its_users_fail(run):
    judgement, found, _ = run("engine-hang")
    assert (judgement["verdict"], judgement["undo"]) == ("refuted", "clean")
    assert found["bites"] == ["bit"]
    green = sum(end - start for start, end in judgement["clocks"]["green_while_broken"])
    assert green > 5, "/health of a hung vLLM answers 200"


def test_a_crashed_engine_takes_its_container_with_it_and_comes_back(run):
    _, found, _ = run("engine-crash")
    assert found["bites"] == ["bit"]
    assert found["capacity back"] is not None


def test_a_drained_node_s_engines_come_back_once_it_is_uncordoned(run):
    _, found, _ = run(OWN / "drain.yaml")
    assert (found["bites"], found["undo"]) == (["bit"], "clean")
    assert found["capacity back"] is not None


def test_a_revision_that_cannot_start_harms_nobody_and_is_rolled_back(run):
    judgement, found, _ = run(OWN / "bad-rollout.yaml")
    assert (found["bites"], found["undo"]) == (["bit"], "clean")
    assert judgement["verdict"] in ("held", "refuted")


def test_the_account_that_deploy_makes_has_all_the_rights_that_a_drill_takes(run, least_privileged, tmp_path):
    """The watchdog's among them, which runs as a pod there."""
    experiment = yaml.safe_load((OWN / "bad-rollout.yaml").read_text(encoding="utf-8"))
    experiment["target"]["helper"] = vllm_cluster.helper_settings()
    place = tmp_path / "bad-rollout.yaml"
    place.write_text(yaml.safe_dump(experiment), encoding="utf-8")
    _, found, _ = run(place, least_privileged)
    assert (found["bites"], found["undo"]) == (["bit"], "clean")


async def test_a_helper_pod_stops_an_engine_from_outside_and_its_undo_leaves_nothing(vllm):
    await vllm_cluster.settled(vllm)
    settings = HelperSpec(**vllm_cluster.helper_settings())
    spec = TargetSpec(stack="production-stack", namespace=vllm_cluster.NAMESPACE, helper=settings)
    record = []

    async def keep(operations):
        record.extend(operations)

    async with await open_target(spec, kubeconfig=vllm) as target:
        step = process_hang.FAULT.step.model_validate({"fault": "process-hang", "role": "engine", "via": "helper"})
        plan = await process_hang.FAULT.plan(step, 0, target, Draw(1, "by-helper"))
        injected = await process_hang.FAULT.inject(plan, target, keep)
        try:
            assert (await process_hang.FAULT.verify(plan, injected, target, 10)).bit
            there = await processes.look(target.kube, plan.targets[0], "vllm")
            assert [each.state for each in processes.titled(there, "VLLM::EngineCore")] == ["T"]
        finally:
            outcomes = [await carry_out(target.kube, each, seconds=90) for each in reversed(record)]
        assert {outcome.state for outcome in outcomes} == {EntryState.UNDONE}, outcomes
        there = await processes.look(target.kube, plan.targets[0], "vllm")
        assert not any(each.stopped for each in there)
    await vllm_cluster.nothing_is_left(vllm)
