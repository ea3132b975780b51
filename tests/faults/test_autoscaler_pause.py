from __future__ import annotations

import asyncio

import control_plane as planes
import pytest
from striking import Struck, planned

from drillbook.errors import PreflightError, UnsupportedError
from drillbook.model.undo import EntryState


async def scaled(kube, namespace: str, least: int = 1, most: int = 5) -> str:
    """A Deployment of two, and an HPA over it."""
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    pod = {
        "metadata": {"labels": planes.LABELS},
        "spec": {"containers": [{"name": "vllm", "image": "vllm/vllm-openai"}]},
    }
    spec = {"replicas": 2, "selector": {"matchLabels": planes.LABELS}, "template": pod}
    await kube.create(place, {"metadata": {"name": "engine"}, "spec": spec})
    async with asyncio.timeout(60):
        while len(await kube.list(f"/api/v1/namespaces/{namespace}/pods")) < 2:
            await asyncio.sleep(0.05)
    aim = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "engine"}
    hpas = f"/apis/autoscaling/v1/namespaces/{namespace}/horizontalpodautoscalers"
    spec = {"scaleTargetRef": aim, "minReplicas": least, "maxReplicas": most, "targetCPUUtilizationPercentage": 80}
    await kube.create(hpas, {"metadata": {"name": "engine"}, "spec": spec})
    return f"{hpas}/engine"


async def bounds(kube, path: str) -> tuple[int, int]:
    spec = (await kube.get(path))["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


async def test_an_hpa_is_held_at_the_replicas_of_the_moment_and_gets_its_bounds_back(target, kube, namespace):
    path = await scaled(kube, namespace)
    plan, struck = await planned(target, "autoscaler-pause"), Struck(target)
    injected = await struck.inject(plan)
    assert await bounds(kube, path) == (2, 2)
    assert (await struck.prove(plan, injected)).bit
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.UNDONE]
    assert await bounds(kube, path) == (1, 5)


async def test_a_bound_that_somebody_changed_since_is_left_alone_and_the_other_restored(target, kube, namespace):
    path = await scaled(kube, namespace)
    struck = Struck(target)
    await struck.inject(await planned(target, "autoscaler-pause"))
    await kube.patch(path, {"spec": {"maxReplicas": 8}})
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.SUPERSEDED]
    assert await bounds(kube, path) == (1, 8)


async def test_an_hpa_without_room_or_none_at_all_is_refused(target, kube, namespace):
    path = await scaled(kube, namespace, 2, 2)
    with pytest.raises(PreflightError, match="cannot scale"):
        await planned(target, "autoscaler-pause")
    await kube.delete(path)
    with pytest.raises(UnsupportedError, match="no HorizontalPodAutoscaler"):
        await planned(target, "autoscaler-pause")
