from __future__ import annotations

import asyncio

import control_plane as planes
import pytest

from drillbook.errors import RefusedError
from drillbook.faults.fault import Draw
from drillbook.faults.pod_kill import FAULT, PodKillStep
from drillbook.model.experiment import TargetSpec
from drillbook.targets import paths
from drillbook.targets.kube import Kube
from drillbook.targets.stack import stack_named
from drillbook.targets.target import Target


async def planned(target, **options):
    return await FAULT.plan(PodKillStep.model_validate({"fault": "pod-kill", **options}), 0, target, Draw(1))


class Recorded(list):
    async def __call__(self, operations) -> None:
        self.append(operations)


async def test_a_pod_is_killed_by_force_and_its_end_is_seen(target, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)
    plan, record = await planned(target, force=True), Recorded()
    bite = await FAULT.verify(plan, await FAULT.inject(plan, target, record), target, 5)
    assert bite.bit
    assert "by force" in bite.detail
    assert record == [()]
    assert await kube.find(paths.pod(namespace, "engine-0")) is None


async def test_with_grace_the_bite_is_the_end_and_not_the_request(target, kube, namespace):
    pod = await planes.make_pod(kube, "engine-0", namespace)
    plan = await planned(target, grace="1s")
    injected = await FAULT.inject(plan, target, Recorded())
    bite = await FAULT.verify(plan, injected, target, 0.2)
    assert not bite.bit, "terminating is not ended: there is no kubelet here to end it"
    verifying = asyncio.create_task(FAULT.verify(plan, injected, target, 10))
    await planes.set_status(kube, pod, "Succeeded", container_id="containerd://engine-0-0")
    assert (await verifying).bit


async def test_a_pod_that_is_already_gone_replaced_or_ending_is_refused(target, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)
    plan = await planned(target)
    await kube.delete(paths.pod(namespace, "engine-0"), grace=0)
    with pytest.raises(RefusedError, match="already gone"):
        await FAULT.inject(plan, target, Recorded())
    await planes.make_pod(kube, "engine-0", namespace)
    with pytest.raises(RefusedError, match="already gone"):
        await FAULT.inject(plan, target, Recorded())
    plan = await planned(target)
    await kube.delete(paths.pod(namespace, "engine-0"), grace=30)
    with pytest.raises(RefusedError, match="already terminating"):
        await FAULT.inject(plan, target, Recorded())


async def test_a_pod_that_has_ended_by_itself_is_refused(target, kube, namespace):
    pod = await planes.make_pod(kube, "engine-0", namespace)
    plan = await planned(target)
    await planes.set_status(kube, pod, "Failed", container_id="containerd://engine-0-0")
    with pytest.raises(RefusedError, match="already Failed"):
        await FAULT.inject(plan, target, Recorded())


async def test_when_the_record_is_fenced_nothing_is_deleted(target, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)

    async def fenced(_: object) -> None:
        raise RefusedError("the record is closed")

    plan = await planned(target)
    with pytest.raises(RefusedError, match="closed"):
        await FAULT.inject(plan, target, fenced)
    assert "deletionTimestamp" not in (await kube.get(paths.pod(namespace, "engine-0")))["metadata"]


async def test_a_deletion_that_is_forbidden_is_refused_in_the_server_s_words(target, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)
    plan = await planned(target)
    async with planes.denied(kube, verbs=["delete"], resources=["pods"], namespaces=[namespace]):
        allowed = [await kube.can(permission) for permission in plan.permissions]
        assert dict(zip(map(str, plan.permissions), allowed, strict=True)) == {"get pods": True, "delete pods": False}
        with pytest.raises(RefusedError, match="forbidden"):
            await FAULT.inject(plan, target, Recorded())
    assert "deletionTimestamp" not in (await kube.get(paths.pod(namespace, "engine-0")))["metadata"]


async def test_a_request_without_an_answer_is_left_to_the_proof(own_plane):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await planes.make_namespace(kube)
        await planes.make_pod(kube, "engine-0")
        target = Target(kube, TargetSpec(), planes.NAMESPACE, stack_named("production-stack"))
        plan = await planned(target, grace="0s")

        async def server_dies(_: object) -> None:
            await asyncio.to_thread(own_plane.kill)

        injected = await FAULT.inject(plan, target, server_dies)
        assert "no answer to 1 of 1" in injected.detail
        assert not (await FAULT.verify(plan, injected, target, 0.3)).bit
        await asyncio.to_thread(own_plane.start)
        assert not (await FAULT.verify(plan, injected, target, 0.3)).bit


@pytest.mark.root
async def test_in_the_sandbox_a_killed_pod_is_replaced(simulated):
    plan = await planned(simulated, grace="0s")
    bite = await FAULT.verify(plan, await FAULT.inject(plan, simulated, Recorded()), simulated, 10)
    assert bite.bit
    names = {ref.name for ref in plan.targets}
    async with asyncio.timeout(60):
        while len([pod for pod in await simulated.pods("engine") if pod["metadata"]["name"] not in names]) < 2:
            await asyncio.sleep(0.1)
