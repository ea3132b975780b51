from __future__ import annotations

import asyncio

import control_plane as planes
import pytest
from striking import Struck, planned

from drillbook.errors import PreflightError, UnsupportedError
from drillbook.faults.revision import ARGUMENT, IMAGE
from drillbook.model.undo import EntryState

CONTAINER = {
    "name": "vllm",
    "image": "vllm/vllm-openai:v1",
    "args": ["/models/m"],
    "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}},
}


async def deployment(kube, namespace: str, replicas: int = 2, **container) -> str:
    place = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    pod = {"metadata": {"labels": planes.LABELS}, "spec": {"containers": [CONTAINER | container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": planes.LABELS}, "template": pod}
    await kube.create(place, {"metadata": {"name": "engine"}, "spec": spec})
    async with asyncio.timeout(60):
        while (await kube.get(f"{place}/engine")).get("status", {}).get("updatedReplicas", 0) < replicas:
            await asyncio.sleep(0.05)
    return f"{place}/engine"


async def template(kube, path: str) -> dict:
    return (await kube.get(path))["spec"]["template"]["spec"]["containers"][0]


async def new_pod(kube, namespace: str, image: str) -> dict:
    async with asyncio.timeout(60):
        while True:
            for pod in await kube.list(f"/api/v1/namespaces/{namespace}/pods"):
                if pod["spec"]["containers"][0]["image"] == image:
                    return pod
            await asyncio.sleep(0.05)


async def test_an_image_that_cannot_be_pulled_is_rolled_out_seen_and_rolled_back(target, kube, namespace):
    path = await deployment(kube, namespace)
    plan, struck = await planned(target, "bad-rollout"), Struck(target)
    injected = await struck.inject(plan)
    assert not (await struck.prove(plan, injected, 0.2)).bit
    pod = await new_pod(kube, namespace, IMAGE)
    waiting = {"name": "vllm", "state": {"waiting": {"reason": "ErrImagePull"}}, "image": IMAGE, "imageID": "",
               "ready": False, "restartCount": 0}  # fmt: skip
    meta = pod["metadata"]
    await kube.patch(
        f"/api/v1/namespaces/{namespace}/pods/{meta['name']}/status", {"status": {"containerStatuses": [waiting]}}
    )
    bite = await struck.prove(plan, injected)
    assert bite.bit
    assert "ErrImagePull" in bite.detail
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.UNDONE]
    assert (await template(kube, path))["image"] == "vllm/vllm-openai:v1"


async def test_a_rollback_by_somebody_to_another_revision_is_left_alone(target, kube, namespace):
    path = await deployment(kube, namespace)
    struck = Struck(target)
    await struck.inject(await planned(target, "bad-rollout"))
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "vllm/vllm-openai:v0"}]
    await kube.patch(path, change, "json")
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.SUPERSEDED]
    assert (await template(kube, path))["image"] == "vllm/vllm-openai:v0"


async def test_wrong_arguments_are_added_to_those_that_are_there(target, kube, namespace):
    path = await deployment(kube, namespace)
    struck = Struck(target)
    await struck.inject(await planned(target, "bad-rollout", how="arguments"))
    assert (await template(kube, path))["args"] == ["/models/m", ARGUMENT]
    await struck.undo()
    assert (await template(kube, path))["args"] == ["/models/m"]


async def test_a_slow_start_delays_the_probe_by_which_a_pod_becomes_ready(target, kube, namespace):
    path = await deployment(kube, namespace)
    struck = Struck(target)
    await struck.inject(await planned(target, "bad-rollout", how="slow-start", delay="45s"))
    assert (await template(kube, path))["readinessProbe"]["initialDelaySeconds"] == 45
    await struck.undo()
    assert not (await template(kube, path))["readinessProbe"].get("initialDelaySeconds")


async def test_what_gives_no_hold_is_unsupported(target, kube, namespace):
    path = await deployment(kube, namespace, command=["sh", "-c", "vllm serve /models/m"], readinessProbe=None)
    with pytest.raises(UnsupportedError, match="shell script"):
        await planned(target, "bad-rollout", how="arguments")
    with pytest.raises(UnsupportedError, match="neither a startup nor a readiness probe"):
        await planned(target, "bad-rollout", how="slow-start")
    await kube.patch(path, {"spec": {"paused": True}})
    with pytest.raises(UnsupportedError, match="paused"):
        await planned(target, "bad-rollout")


async def test_nothing_is_rolled_out_into_another_rollout(target, kube, namespace):
    path = await deployment(kube, namespace)
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "vllm/vllm-openai:v2"}]
    await kube.patch(path, change, "json")
    await new_pod(kube, namespace, "vllm/vllm-openai:v2")
    with pytest.raises(PreflightError, match="middle of a rollout"):
        await planned(target, "bad-rollout")


async def test_the_radius_is_what_the_strategy_lets_go_first(target, kube, namespace):
    path = await deployment(kube, namespace, replicas=4)
    assert (await planned(target, "bad-rollout")).radius.pods == 1  # a quarter, rounded down
    await kube.patch(path, {"spec": {"strategy": {"rollingUpdate": {"maxUnavailable": 0}}}})
    assert (await planned(target, "bad-rollout")).radius.pods == 0
    garbage = (await planned(target, "bad-rollout", how="garbage")).radius
    assert (garbage.pods, garbage.capacity_left) == (4, 0.0)


async def test_a_revision_that_was_there_and_is_taken_back_before_it_shows_anything_has_bitten(target, kube, namespace):
    path = await deployment(kube, namespace)
    plan, struck = await planned(target, "bad-rollout"), Struck(target)
    proof = asyncio.create_task(struck.prove(plan, await struck.inject(plan), 60))
    await new_pod(kube, namespace, IMAGE)
    await asyncio.sleep(0.5)  # a look or more, none of which shows a container that fails
    assert not proof.done()
    change = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "vllm/vllm-openai:v1"}]
    await kube.patch(path, change, "json")
    bite = await proof
    assert bite.bit
    assert "was there, and another template is asked for again" in bite.detail


@pytest.mark.parametrize("env", [{"RAILS": "off"}, {"RAILS": "off", "DEBUG": "1"}], ids=["there", "new"])
async def test_environment_variables_are_changed_and_put_back(target, kube, namespace, env):
    before = [{"name": "RAILS", "value": "on"}, {"name": "PORT", "value": "80"}]
    path = await deployment(kube, namespace, env=before)
    with pytest.raises(UnsupportedError, match="already"):
        await planned(target, "bad-rollout", how="environment", env={"RAILS": "on"})
    struck = Struck(target)
    await struck.inject(await planned(target, "bad-rollout", how="environment", env=env))
    now = {row["name"]: row["value"] for row in (await template(kube, path))["env"]}
    assert now == {"RAILS": "on", "PORT": "80"} | env
    assert [outcome.state for outcome in await struck.undo()] == [EntryState.UNDONE]
    assert (await template(kube, path))["env"] == before


async def test_variables_without_their_how_are_a_mistake(target):
    with pytest.raises(ValueError, match="belong together"):
        await planned(target, "bad-rollout", env={"RAILS": "off"})
