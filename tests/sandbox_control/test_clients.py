"""The official client, sync and asyncio, believes it too."""

import asyncio

import pytest
from kubernetes import aio, client, watch

from drillbook import clock


def configured(module, url):
    configuration = module.Configuration()
    configuration.host = url
    return configuration


async def test_the_sync_client_creates_watches_and_deletes(url, api, make_deployment, kubelet):
    def drive():
        with client.ApiClient(configured(client, url)) as session:
            apps, core = client.AppsV1Api(session), client.CoreV1Api(session)
            made = apps.create_namespaced_deployment("default", make_deployment("engine", replicas=2))
            assert made.metadata.uid
            seen = 0
            for event in watch.Watch().stream(core.list_namespaced_pod, "default", timeout_seconds=8):
                ready = [row for row in event["object"].status.conditions or [] if row.type == "Ready"]
                seen += bool(ready and ready[0].status == "True" and event["type"] == "MODIFIED")
                if seen >= 2:
                    break
            assert len(core.list_node().items) == 2
            assert apps.read_namespaced_deployment_scale("engine", "default").spec.replicas == 2
            victim = core.list_namespaced_pod("default", label_selector="app=engine").items[0].metadata.name
            core.create_namespaced_pod_eviction(
                victim, "default", client.V1Eviction(metadata=client.V1ObjectMeta(name=victim, namespace="default"))
            )
            review = client.AuthorizationV1Api(session).create_self_subject_access_review(
                {"spec": {"resourceAttributes": {"verb": "delete", "resource": "pods", "namespace": "default"}}}
            )
            assert review.status.allowed
            core.delete_collection_namespaced_pod("default", label_selector="app=engine")
            apps.delete_namespaced_deployment("engine", "default", propagation_policy="Foreground")

    await asyncio.to_thread(drive)

    async def gone():
        return not await api.exists("/apis/apps/v1/namespaces/default/deployments/engine")

    await api.until(gone)


async def test_the_asyncio_client_lists_patches_and_is_refused(url, make_pod):
    async with aio.client.ApiClient(configured(aio.client, url)) as session:
        core = aio.client.CoreV1Api(session)
        await core.create_namespaced_pod("default", make_pod("a", app="llm"))
        changed = await core.patch_namespaced_pod("a", "default", {"metadata": {"labels": {"tier": "gpu"}}})
        assert changed.metadata.labels == {"app": "llm", "tier": "gpu"}
        with pytest.raises(aio.client.ApiException) as refused:
            await core.read_namespaced_pod("b", "default")
        assert (refused.value.status, refused.value.reason) == (404, "Not Found")


@pytest.mark.figure
async def test_ten_thousand_pods_are_listed_well_under_a_second(api, plane, make_pod):
    """Made in process, because ten thousand creations are not what is measured."""
    kind = plane.registry.kinds.of_resource("pods")
    for number in range(10_000):
        wanted = make_pod(f"hollow-{number:05}", app="hollow")
        wanted["spec"]["schedulerName"] = "nobody"
        plane.registry.create(kind, "default", wanted)
        if number % 500 == 0:
            await asyncio.sleep(0)
    began = clock.monotonic()
    async with api.session.get(api.url + "/api/v1/pods") as answer:
        body = await answer.read()
    took = clock.monotonic() - began
    assert body.count(b'"uid"') == 10_000
    assert took < 1, f"{took:.2f} s"
    began = clock.monotonic()
    assert await api.items("/api/v1/pods", labelSelector="app=other") == []
    assert clock.monotonic() - began < 0.3
