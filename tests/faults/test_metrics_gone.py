from __future__ import annotations

import asyncio

import pytest
from striking import Struck, planned

from drillbook.errors import PreflightError, UnsupportedError
from drillbook.model.undo import EntryState
from drillbook.sandbox.node.metrics import WITHHELD


@pytest.fixture
def cluster(target):
    """The control plane, taken for a cluster's."""
    target.simulated = False
    return target


METRICS = "/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods"


async def prometheus(kube, namespace: str) -> str:
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    labels = {"app": "prometheus"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "p", "image": "prom/prometheus"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    await kube.create(place, {"metadata": {"name": "prometheus"}, "spec": spec})
    async with asyncio.timeout(60):
        while not (await kube.get(f"{place}/prometheus")).get("status", {}).get("replicas"):
            await asyncio.sleep(0.05)
    return f"{place}/prometheus"


async def test_a_named_pipeline_is_scaled_away_seen_to_be_and_brought_back(cluster, kube, namespace):
    path = await prometheus(kube, namespace)
    plan, struck = await planned(cluster, "metrics-gone", workload=f"{namespace}/prometheus"), Struck(cluster)
    bite = await struck.prove(plan, await struck.inject(plan))
    assert bite.bit, bite.detail
    assert (await kube.get(path))["spec"]["replicas"] == 0
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.UNDONE]
    assert (await kube.get(path))["spec"]["replicas"] == 1


async def test_what_the_cluster_runs_on_is_spared(cluster):
    with pytest.raises(UnsupportedError, match="protected"):
        await planned(cluster, "metrics-gone", workload="kube-system/metrics-server")


async def test_where_nothing_serves_metrics_there_is_nothing_to_take_away(cluster, namespace):
    with pytest.raises(UnsupportedError, match=r"nothing serves v1beta1\.custom\.metrics"):
        await planned(cluster, "metrics-gone", api="custom")
    with pytest.raises(PreflightError, match="no Deployment"):
        await planned(cluster, "metrics-gone", workload=f"{namespace}/none")


async def test_a_kubelet_of_a_cluster_is_out_of_reach(cluster):
    with pytest.raises(UnsupportedError, match="nothing in the Kubernetes API stops a kubelet"):
        await planned(cluster, "kubelet-gone")


@pytest.mark.root
async def test_in_the_sandbox_the_metrics_of_the_namespace_are_withheld(simulated):
    plan, struck = await planned(simulated, "metrics-gone"), Struck(simulated)
    place = f"/api/v1/namespaces/{simulated.namespace}"
    async with asyncio.timeout(60):
        while not (await simulated.kube.get(METRICS.format(simulated.namespace)))["items"]:
            await asyncio.sleep(0.2)
    await struck.inject(plan)
    assert (await simulated.kube.get(place))["metadata"]["annotations"][WITHHELD] == "withheld"
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.UNDONE]
    assert WITHHELD not in ((await simulated.kube.get(place))["metadata"].get("annotations") or {})
