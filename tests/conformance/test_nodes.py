"""Nodes: what they have, what is refused for want of it, and what cordon and taint do.

Comes when all acts are over: these tests bother whatever runs on a node.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from stage import Stage, condition

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.usefixtures("quiet")]

TAINT = "drillbook.io/conformance"


@pytest_asyncio.fixture(loop_scope="session")
async def node(stage: Stage) -> dict[str, Any]:
    """A node on which pods of this suite run."""
    if not stage.pods.of("finds-node"):
        await stage.run("finds-node")
    name = (await stage.ready("finds-node"))["spec"]["nodeName"]
    return await stage.kube.get(f"/api/v1/nodes/{name}")


@pytest_asyncio.fixture(loop_scope="session")
async def alone(stage: Stage, node: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    """A node that runs nobody else's pods; what was done to it is undone."""
    found = await stage.kube.list("/api/v1/pods", fields=f"spec.nodeName={node['metadata']['name']}")
    others = {pod["metadata"]["namespace"] for pod in found} - {stage.namespace, *(["llm"] if stage.simulated else [])}
    if others:
        pytest.skip(f"pods of {', '.join(sorted(others))} on {node['metadata']['name']} are not this suite's to evict")
    path = f"/api/v1/nodes/{node['metadata']['name']}"
    yield node
    spec = (await stage.kube.get(path))["spec"]
    kept = [taint for taint in spec.get("taints") or [] if taint["key"] != TAINT]
    await stage.kube.patch(path, {"spec": {"unschedulable": None, "taints": kept or None}})


async def test_a_node_tells_its_capacity_addresses_and_conditions(node):
    status = node["status"]
    for field in ("capacity", "allocatable"):
        assert {"cpu", "memory", "pods", "ephemeral-storage", "nvidia.com/gpu"} <= set(status[field])
    assert re.fullmatch(r"\d+", status["allocatable"]["nvidia.com/gpu"])
    addresses = {row["type"]: row["address"] for row in status["addresses"]}
    assert set(addresses) >= {"InternalIP", "Hostname"}
    ready = condition(node, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "KubeletReady")
    assert ready["message"].startswith("kubelet is posting ready status")
    for kind in ("MemoryPressure", "DiskPressure", "PIDPressure"):
        assert condition(node, kind)["status"] == "False"
    assert status["daemonEndpoints"]["kubeletEndpoint"]["Port"] > 0
    assert status["nodeInfo"]["kubeletVersion"].startswith("v1.")
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == addresses["Hostname"]


async def test_a_nodes_lease_is_kept_fresh(stage, node):
    name = node["metadata"]["name"]
    lease = await stage.kube.get(f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{name}")
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == (name, 40)
    age = datetime.now(UTC) - datetime.fromisoformat(lease["spec"]["renewTime"])
    assert age.total_seconds() < 40


async def test_more_gpus_than_there_are_leave_a_pod_pending_and_the_scheduler_says_why(stage):
    await stage.run("greedy", resources={"limits": {"nvidia.com/gpu": "999"}})
    seen = await stage.pods.until(lambda one: one.name == "greedy" and condition(one.obj, "PodScheduled"))
    row = condition(seen.obj, "PodScheduled")
    nodes = len(await stage.kube.list("/api/v1/nodes"))
    assert (row["status"], row["reason"]) == ("False", "Unschedulable")
    assert row["message"].startswith(f"0/{nodes} nodes are available: {nodes} Insufficient nvidia.com/gpu.")
    assert seen.obj["status"]["phase"] == "Pending"
    assert seen.obj["spec"]["containers"][0]["resources"]["requests"] == {"nvidia.com/gpu": "999"}
    (event,) = await stage.reasons("greedy", "FailedScheduling")
    assert event["type"] == "Warning"
    assert event["message"].startswith(row["message"][:40])


async def test_a_cordoned_node_takes_no_pods_until_it_is_uncordoned(stage, alone):
    name = alone["metadata"]["name"]
    await stage.kube.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    async with asyncio.timeout(10):
        while not (await stage.kube.get(f"/api/v1/nodes/{name}"))["spec"].get("taints"):
            await asyncio.sleep(0.05)
    (taint,) = (await stage.kube.get(f"/api/v1/nodes/{name}"))["spec"]["taints"]
    assert (taint["key"], taint["effect"]) == ("node.kubernetes.io/unschedulable", "NoSchedule")
    hostname = alone["metadata"]["labels"]["kubernetes.io/hostname"]
    await stage.run("kept-out", spec={"nodeSelector": {"kubernetes.io/hostname": hostname}})
    seen = await stage.pods.until(lambda one: one.name == "kept-out" and condition(one.obj, "PodScheduled"))
    row = condition(seen.obj, "PodScheduled")
    assert (row["status"], row["reason"]) == ("False", "Unschedulable")
    assert re.match(r"0/\d+ nodes are available: ", row["message"])
    assert "1 node(s) were unschedulable" in row["message"]
    await stage.kube.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})
    await stage.ready("kept-out")
    assert "taints" not in (await stage.kube.get(f"/api/v1/nodes/{name}"))["spec"]


async def test_a_no_execute_taint_evicts_who_does_not_tolerate_it(stage, alone):
    name, hostname = alone["metadata"]["name"], alone["metadata"]["labels"]["kubernetes.io/hostname"]
    spec = {"nodeSelector": {"kubernetes.io/hostname": hostname}}
    tolerates = [{"key": TAINT, "operator": "Exists", "effect": "NoExecute"}]
    await stage.run("leaves", spec=spec)
    await stage.run("stays", spec=spec | {"tolerations": tolerates})
    await stage.ready("leaves")
    await stage.ready("stays")
    taint = {"key": TAINT, "value": "now", "effect": "NoExecute"}
    await stage.kube.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": [taint]}}, "strategic")
    await stage.pods.until(lambda one: one.name == "leaves" and one.obj["metadata"].get("deletionTimestamp"))
    (event,) = await stage.reasons("leaves", "TaintManagerEviction")
    assert event["message"] == f"Marking for deletion Pod {stage.namespace}/leaves"
    stays = await stage.kube.get(stage.path("pods", "stays"))
    assert "deletionTimestamp" not in stays["metadata"]
    assert (await stage.kube.get(f"/api/v1/nodes/{name}"))["spec"]["taints"][0]["key"] == TAINT
