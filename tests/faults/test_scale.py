from __future__ import annotations

import asyncio

import pytest

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import blast
from drillbook.faults.fault import Draw
from drillbook.faults.scale import FAULT, ScaleStep
from drillbook.model.experiment import Limits
from drillbook.model.undo import EntryState
from drillbook.undo.operations import carry_out

LABELS = {"app.kubernetes.io/part-of": "vllm-stack", "app.kubernetes.io/component": "serving-engine"}


async def workload(kube, namespace: str, name: str = "engine", kind: str = "Deployment", replicas: int = 3) -> str:
    pod = {
        "metadata": {"labels": LABELS | {"app": name}},
        "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai"}]},
    }
    place = f"/apis/apps/v1/namespaces/{namespace}/{kind.lower()}s"
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pod}
    if kind == "StatefulSet":
        spec |= {"serviceName": name, "podManagementPolicy": "Parallel"}
    await kube.create(place, {"metadata": {"name": name}, "spec": spec})
    async with asyncio.timeout(60):
        while len(await kube.list(f"/api/v1/namespaces/{namespace}/pods", labels=f"app={name}")) < replicas:
            await asyncio.sleep(0.05)
    return f"{place}/{name}"


async def planned(target, **options):
    return await FAULT.plan(ScaleStep.model_validate({"fault": "scale", **options}), 0, target, Draw(1))


class Recorded(list):
    async def __call__(self, operations) -> None:
        self += operations


async def replicas(kube, path: str) -> int:
    return (await kube.get(path))["spec"]["replicas"]


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
async def test_a_workload_is_scaled_seen_to_be_and_put_back(target, kube, namespace, kind):
    path = await workload(kube, namespace, kind=kind)
    plan, record = await planned(target, replicas=1), Recorded()
    assert plan.summary == f"scale {kind.lower()}/engine from 3 to 1 replicas"
    bite = await FAULT.verify(plan, await FAULT.inject(plan, target, record), target, 10)
    assert bite.bit
    assert await replicas(kube, path) == 1
    assert (await carry_out(kube, record[0], seconds=5)).state is EntryState.UNDONE
    assert await replicas(kube, path) == 3


async def test_what_an_autoscaler_wrote_since_is_left_its_way(target, kube, namespace):
    path = await workload(kube, namespace)
    plan, record = await planned(target, replicas=1), Recorded()
    await FAULT.inject(plan, target, record)
    await kube.patch(path, {"spec": {"replicas": 5}})
    assert (await carry_out(kube, record[0], seconds=5)).state is EntryState.SUPERSEDED
    assert await replicas(kube, path) == 5


async def test_the_undo_is_that_of_the_moment_and_not_of_the_plan(target, kube, namespace):
    path = await workload(kube, namespace)
    plan, record = await planned(target, replicas=1), Recorded()
    await kube.patch(path, {"spec": {"replicas": 4}})
    await FAULT.inject(plan, target, record)
    await carry_out(kube, record[0], seconds=5)
    assert await replicas(kube, path) == 4


async def test_a_workload_that_is_there_already_or_gone_is_refused(target, kube, namespace):
    path = await workload(kube, namespace)
    with pytest.raises(PreflightError, match="already"):
        await planned(target, replicas=3)
    plan = await planned(target, replicas=1)
    await kube.patch(path, {"spec": {"replicas": 1}})
    with pytest.raises(RefusedError, match="already"):
        await FAULT.inject(plan, target, Recorded())
    await kube.delete(path)
    with pytest.raises(RefusedError, match="gone"):
        await FAULT.inject(plan, target, Recorded())


async def test_several_workloads_of_a_role_are_told_apart_by_name(target, kube, namespace):
    await workload(kube, namespace, "one", replicas=1)
    await workload(kube, namespace, "two", replicas=1)
    with pytest.raises(UnsupportedError, match="several workloads"):
        await planned(target, replicas=0)
    assert (await planned(target, replicas=0, workload="two")).targets[0].name == "two"
    with pytest.raises(UnsupportedError):
        await planned(target, replicas=0, workload="three")


async def test_replicas_that_are_taken_away_count_towards_the_blast_radius(target, kube, namespace):
    await workload(kube, namespace)
    plan = await planned(target, replicas=0)
    with pytest.raises(PreflightError, match="engines stay untouched"):
        await blast.check([plan], Limits(), target)
