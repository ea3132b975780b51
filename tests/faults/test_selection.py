from __future__ import annotations

import control_plane as planes
import pytest
from pydantic import ValidationError

from drillbook.errors import PreflightError
from drillbook.faults import blast
from drillbook.faults.fault import Draw
from drillbook.faults.pod_kill import FAULT as POD_KILL
from drillbook.faults.pod_kill import PodKillStep
from drillbook.faults.registry import FAULTS, step_types
from drillbook.model.experiment import Limits, TargetSpec
from drillbook.targets import paths
from drillbook.targets.stack import stack_named
from drillbook.targets.target import Target


async def engines(kube, namespace: str, count: int) -> None:
    for number in range(count):
        await planes.make_pod(kube, f"engine-{number}", namespace, gpus=2)


def step(**options) -> PodKillStep:
    return PodKillStep.model_validate({"fault": "pod-kill", **options})


def names(planned) -> list[str]:
    return [ref.name for ref in planned.targets]


def test_every_fault_is_found_by_its_name_and_brings_its_step():
    assert {"pod-kill", "process-hang", "process-kill", "scale"} <= set(FAULTS)
    for name, fault in FAULTS.items():
        assert fault.name == name
        assert fault.summary
        assert fault.step.model_fields["fault"].annotation.__args__ == (name,)
    assert len(set(step_types())) == len(FAULTS)


async def test_the_same_seed_chooses_the_same_pods_and_another_seed_others(target, kube, namespace):
    await engines(kube, namespace, 6)
    chosen = [tuple(names(await POD_KILL.plan(step(count=2), 0, target, Draw(seed)))) for seed in (1, 1, 2, 3, 4, 5)]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 2


async def test_two_steps_choose_different_pods_while_there_are_any(target, kube, namespace):
    await engines(kube, namespace, 3)
    draw = Draw(7)
    chosen = [names(await POD_KILL.plan(step(), index, target, draw))[0] for index in range(3)]
    assert sorted(chosen) == ["engine-0", "engine-1", "engine-2"]


async def test_a_plan_says_what_it_hits_by_which_calls(target, kube, namespace):
    await engines(kube, namespace, 3)
    planned = await POD_KILL.plan(step(names=["engine-1"], grace="5s"), 4, target, Draw(1))
    uid = (await kube.get(paths.pod(namespace, "engine-1")))["metadata"]["uid"]
    assert planned.id == "4-pod-kill"
    assert planned.summary == "delete 1 of 3 engine pods with grace 5s"
    assert planned.targets[0].uid == uid
    assert planned.calls[0].verb == "DELETE"
    assert planned.calls[0].path == paths.pod(namespace, "engine-1")
    assert f'"uid": "{uid}"' in planned.calls[0].body
    assert '"gracePeriodSeconds": 5' in planned.calls[0].body
    assert (planned.radius.pods, planned.radius.gpus, planned.radius.role_total) == (1, 2, 3)
    assert planned.radius.capacity_left == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"count": 4}, "4 engine pods wanted, 3 running"),
        ({"count": 0}, "0 engine pods wanted"),
        ({"names": ["engine-9"]}, "engine-9"),
        ({"role": "router"}, "no router pods"),
        ({"role": "prefill"}, "no default selector"),
    ],
)
async def test_what_selects_too_little_is_refused_with_what_there_is(target, kube, namespace, options, said):
    await engines(kube, namespace, 3)
    with pytest.raises(PreflightError, match=said) as caught:
        await POD_KILL.plan(step(**options), 0, target, Draw(1))
    assert caught.value.hint


async def test_pods_that_are_ending_or_have_ended_are_never_chosen(target, kube, namespace):
    await engines(kube, namespace, 2)
    await planes.make_pod(kube, "done", namespace, phase="Succeeded")
    await planes.make_pod(kube, "ending", namespace)
    await kube.delete(paths.pod(namespace, "ending"), grace=30)
    planned = await POD_KILL.plan(step(count="all"), 0, target, Draw(1))
    assert names(planned) == ["engine-0", "engine-1"]


@pytest.mark.parametrize(
    "options", [{"grace": "1.5s"}, {"grace": "5s", "force": True}, {"grace": 5}, {"gracious": True}]
)
def test_a_step_that_makes_no_sense_is_invalid(options):
    with pytest.raises(ValidationError):
        step(**options)


async def plan_of(target, *steps: PodKillStep):
    draw = Draw(1)
    return [await POD_KILL.plan(each, index, target, draw) for index, each in enumerate(steps)]


async def test_the_blast_radius_of_all_steps_together_is_held_to_the_limits(target, kube, namespace):
    await engines(kube, namespace, 4)
    faults = await plan_of(target, step(), step())
    whole = await blast.check(faults, Limits(replicas=2, gpus=4), target)
    assert (whole.pods, whole.gpus, whole.capacity_left) == (2, 4, 0.5)
    for limits, said in [
        (Limits(replicas=1), "2 replicas"),
        (Limits(gpus=3), "4 GPUs"),
        (Limits.model_validate({"capacity-left": "60%"}), "50% of the engines"),
    ]:
        with pytest.raises(PreflightError, match=said):
            await blast.check(faults, limits, target)


async def test_a_pod_that_is_hit_twice_counts_once(target, kube, namespace):
    await engines(kube, namespace, 2)
    faults = await plan_of(target, step(names=["engine-0"]), step(names=["engine-0"]))
    assert (await blast.check(faults, Limits(), target)).pods == 1


async def test_by_default_some_engines_must_stay_untouched(target, kube, namespace):
    await engines(kube, namespace, 2)
    with pytest.raises(PreflightError, match="0% of the engines"):
        await blast.check(await plan_of(target, step(count="all")), Limits(), target)


@pytest.mark.parametrize("protected", ["kube-system", "kube-public", "kube-node-lease"])
async def test_the_cluster_s_own_namespaces_are_never_hit(kube, protected):
    spec = TargetSpec(namespace=protected)
    with pytest.raises(PreflightError, match="protected"):
        await blast.check([], Limits(), Target(kube, spec, protected, stack_named("production-stack")))


async def test_the_default_namespace_is_hit_only_when_it_was_asked_for(kube):
    stack = stack_named("production-stack")
    with pytest.raises(PreflightError, match="nobody chose"):
        await blast.check([], Limits(), Target(kube, TargetSpec(), "default", stack))
    asked = Target(kube, TargetSpec(namespace="default"), "default", stack)
    with pytest.raises(PreflightError, match="0% of the engines"):
        await blast.check([], Limits(), asked)
