"""Faults of nodes, evictions, partitions and restarts in the sandbox: real processes, real connections."""

from __future__ import annotations

import asyncio

import pytest
from striking import Struck, planned

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import nodes
from drillbook.model.undo import EntryState
from drillbook.targets import paths

pytestmark = pytest.mark.root


async def node(target, name: str) -> dict:
    return await target.kube.get(f"/api/v1/nodes/{name}")


async def test_a_drained_node_is_cordoned_emptied_and_given_back(simulated):
    plan, struck = await planned(simulated, "node-drain"), Struck(simulated)
    *pods, ref = plan.targets
    assert pods
    assert plan.radius.capacity_left < 1
    try:
        injected = await struck.inject(plan)
        bite = await struck.prove(plan, injected)
        assert bite.bit, bite.detail
        assert (await node(simulated, ref.name))["spec"]["unschedulable"] is True
        evicted = {each.uid for each in pods}  # one of them may still be ending within its grace
        left = [each["metadata"] for each in await simulated.everything() if each["metadata"]["uid"] in evicted]
        assert all("deletionTimestamp" in each for each in left)
    finally:
        outcomes = await struck.undo()
    assert [outcome.state for outcome in outcomes] == [EntryState.UNDONE]
    assert not (await node(simulated, ref.name))["spec"].get("unschedulable")


async def test_a_budget_that_says_no_is_found_and_told_and_the_pod_stays(simulated):
    budgets = f"/apis/policy/v1/namespaces/{simulated.namespace}/poddisruptionbudgets"
    selector = {"matchLabels": {"app.kubernetes.io/component": "serving-engine"}}
    await simulated.kube.create(
        budgets, {"metadata": {"name": "engines"}, "spec": {"maxUnavailable": 0, "selector": selector}}
    )
    try:
        async with asyncio.timeout(30):
            while (await simulated.kube.get(f"{budgets}/engines")).get("status", {}).get("expectedPods", 0) < 2:
                await asyncio.sleep(0.1)
        plan, struck = await planned(simulated, "pod-evict"), Struck(simulated)
        injected = await struck.inject(plan)
        bite = await struck.prove(plan, injected)
        assert bite.bit
        assert "a disruption budget protects" in bite.detail
        assert "429" in bite.detail
        assert await simulated.kube.find(paths.of(plan.targets[0])) is not None
    finally:
        await simulated.kube.delete(f"{budgets}/engines")


async def test_only_our_taint_is_removed_from_a_node(simulated):
    plan, struck = await planned(simulated, "node-taint", effect="NoSchedule"), Struck(simulated)
    (ref,) = plan.targets
    theirs = {"key": "example.com/theirs", "effect": "NoSchedule"}
    try:
        injected = await struck.inject(plan)
        now = await node(simulated, ref.name)
        await simulated.kube.patch(paths.of(ref), {"spec": {"taints": [*now["spec"]["taints"], theirs]}})
        bite = await struck.prove(plan, injected)
        assert bite.bit, bite.detail
    finally:
        await struck.undo()
        left = [row["key"] for row in (await node(simulated, ref.name))["spec"].get("taints") or []]
        await simulated.kube.patch(paths.of(ref), {"spec": {"taints": None}})
    assert "example.com/theirs" in left
    assert "drillbook.io/drill" not in left


async def test_a_taint_that_ends_pods_counts_those_that_do_not_tolerate_it(simulated):
    plan = await planned(simulated, "node-taint")
    *pods, ref = plan.targets
    on_it = [pod for pod in await simulated.everything() if pod["spec"].get("nodeName") == ref.name]
    assert {each.uid for each in pods} == {pod["metadata"]["uid"] for pod in on_it}
    tolerant = [pod | {"spec": pod["spec"] | {"tolerations": [{"operator": "Exists"}]}} for pod in on_it]
    assert nodes.driven_away(tolerant, {"key": "drillbook.io/drill", "effect": "NoExecute"}) == []


async def test_a_pod_that_is_cut_off_is_not_reached_until_the_policy_is_deleted(simulated):
    plan, struck = await planned(simulated, "partition"), Struck(simulated)
    try:
        bite = await struck.prove(plan, await struck.inject(plan))
        assert bite.bit, bite.detail
        (ready,) = [
            row["status"]
            for row in (await simulated.kube.get(paths.of(plan.targets[0])))["status"]["conditions"]
            if row["type"] == "Ready"
        ]
        assert ready == "True", "its own node reaches it"
    finally:
        outcomes = await struck.undo()
    assert {outcome.state for outcome in outcomes} == {EntryState.UNDONE}
    async with asyncio.timeout(30):
        while True:  # planning tries the connection
            try:
                await planned(simulated, "partition", names=[plan.targets[0].name])
            except UnsupportedError:
                await asyncio.sleep(0.2)
            else:
                break


async def test_a_container_is_restarted_and_its_pod_stays(simulated):
    plan, struck = await planned(simulated, "container-restart"), Struck(simulated)
    bite = await struck.prove(plan, await struck.inject(plan))
    assert bite.bit, bite.detail
    assert await simulated.kube.find(paths.of(plan.targets[0])) is not None


async def test_a_lost_gpu_is_one_device_less_and_a_dead_engine(simulated):
    plan, struck = await planned(simulated, "gpu-lost"), Struck(simulated)
    ref = plan.targets[-1]
    before = (await node(simulated, ref.name))["status"]["allocatable"]["nvidia.com/gpu"]
    try:
        bite = await struck.prove(plan, await struck.inject(plan))
        assert bite.bit, bite.detail
        assert "no Xid" in bite.detail, "there is no DCGM here, and that is said"
        now = (await node(simulated, ref.name))["status"]["allocatable"]["nvidia.com/gpu"]
        assert int(now) == int(before) - 1
    finally:
        await struck.undo()
    assert (await node(simulated, ref.name))["status"]["allocatable"]["nvidia.com/gpu"] == before


async def test_a_cordoned_node_is_not_cordoned_again(simulated):
    struck = Struck(simulated)
    plan = await planned(simulated, "node-cordon")
    try:
        assert (await struck.prove(plan, await struck.inject(plan))).bit
        name = plan.targets[0].name
        with pytest.raises(PreflightError, match="cordoned already"):
            await planned(simulated, "node-cordon", node=name)
        with pytest.raises(RefusedError, match="already"):
            await Struck(simulated).inject(plan)
    finally:
        await struck.undo()


async def test_pods_of_others_are_a_reason_not_to_taint(simulated):
    plan = await planned(simulated, "node-taint")
    name = plan.targets[-1].name
    pod = {
        "metadata": {"name": "stranger"},
        "spec": {"nodeName": name, "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "60"]}]},
    }
    await simulated.kube.create("/api/v1/namespaces/default/pods", pod)
    try:
        with pytest.raises(PreflightError, match="default/stranger"):
            await planned(simulated, "node-taint", node=name)
    finally:
        await simulated.kube.delete("/api/v1/namespaces/default/pods/stranger", grace=0)


async def test_pods_that_nothing_would_replace_are_not_drained(simulated):
    place = f"/api/v1/namespaces/{simulated.namespace}/pods"
    plan = await planned(simulated, "node-cordon")
    pod = {
        "metadata": {"name": "lone"},
        "spec": {
            "nodeName": plan.targets[0].name,
            "containers": [{"name": "c", "image": "busybox", "command": ["sleep", "60"]}],
        },
    }
    await simulated.kube.create(place, pod)
    try:
        async with asyncio.timeout(30):
            while (await simulated.kube.get(f"{place}/lone")).get("status", {}).get("phase") != "Running":
                await asyncio.sleep(0.1)
        with pytest.raises(UnsupportedError, match="nothing would replace lone"):
            await planned(simulated, "node-drain", node=plan.targets[0].name)
    finally:
        await simulated.kube.delete(f"{place}/lone", grace=0)
