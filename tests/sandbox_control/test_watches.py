"""Watches: nothing is missed, nothing is told twice, and who comes too late is told so."""

import pytest

from drillbook.sandbox.control import store
from drillbook.sandbox.control.settings import Settings

MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"


async def test_a_watch_from_a_list_hears_of_every_later_change(api):
    await api.post(MAPS, {"metadata": {"name": "old"}})
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    await api.post(MAPS, {"metadata": {"name": "a"}})
    async with api.watch(MAPS, resourceVersion=version) as following:
        event = await following()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "a")
        await api.patch(f"{MAPS}/a", {"data": {"x": "1"}})
        event = await following()
        assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"x": "1"})
        await api.delete(f"{MAPS}/a")
        last = await following()
        assert last["type"] == "DELETED"
        assert int(last["object"]["metadata"]["resourceVersion"]) > int(event["object"]["metadata"]["resourceVersion"])


async def test_a_watch_without_a_version_starts_with_what_is_there(api):
    await api.post(MAPS, {"metadata": {"name": "a"}})
    async with api.watch(MAPS) as following:
        assert (await following())["type"] == "ADDED"


async def test_an_object_that_leaves_the_selection_is_deleted_for_its_watcher(api, make_pod):
    await api.post(PODS, make_pod("a", role="router"))
    version = (await api.get(PODS))["metadata"]["resourceVersion"]
    async with api.watch(PODS, resourceVersion=version, labelSelector="role=engine") as following:
        for role, told in (("engine", "ADDED"), ("engine2", "DELETED"), ("engine", "ADDED")):
            await api.patch(f"{PODS}/a", {"metadata": {"labels": {"role": role}}})
            assert (await following())["type"] == told


async def test_the_kubelets_watch_sees_only_pods_of_its_node(api, make_pod):
    async with api.watch("/api/v1/pods", fieldSelector="spec.nodeName=node-z") as following:
        await api.post(PODS, make_pod("a"))
        await api.post(PODS, make_pod("b"))
        await api.post(f"{PODS}/b/binding", {"target": {"kind": "Node", "name": "node-z"}})
        event = await following()
        assert (event["type"], event["object"]["metadata"]["name"]) == ("ADDED", "b")


async def test_a_version_that_is_too_old_is_answered_with_gone(api, monkeypatch):
    monkeypatch.setattr(store, "HISTORY", 3)
    await api.post(MAPS, {"metadata": {"name": "a"}})
    version = (await api.get(MAPS))["metadata"]["resourceVersion"]
    for number in range(5):
        await api.patch(f"{MAPS}/a", {"data": {"x": str(number)}})
    async with api.watch(MAPS, resourceVersion=version) as following:
        event = await following()
        assert event["type"] == "ERROR"
        assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
        assert await following() is None


async def test_a_version_from_the_future_is_answered_with_gone(api):
    async with api.watch(MAPS, resourceVersion="99999999") as following:
        assert (await following())["object"]["code"] == 410


async def test_a_watch_ends_at_its_timeout_with_a_bookmark(api):
    async with api.watch(MAPS, resourceVersion="0", timeoutSeconds="1", allowWatchBookmarks="true") as following:
        event = await following()
        assert event["type"] == "BOOKMARK"
        assert event["object"]["kind"] == "ConfigMap"
        assert event["object"]["metadata"]["resourceVersion"] == (await api.get(MAPS))["metadata"]["resourceVersion"]
        assert await following() is None


async def test_initial_events_end_with_an_annotated_bookmark(api):
    await api.post(MAPS, {"metadata": {"name": "a"}})
    async with api.watch(
        MAPS, sendInitialEvents="true", allowWatchBookmarks="true", resourceVersionMatch="NotOlderThan"
    ) as following:
        assert (await following())["type"] == "ADDED"
        event = await following()
        assert event["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}


class TestQuietWatches:
    @pytest.fixture
    def settings(self):
        return Settings(bookmark_period=0.05)

    async def test_a_quiet_watch_gets_bookmarks(self, api):
        async with api.watch(MAPS, resourceVersion="0", allowWatchBookmarks="true") as following:
            await api.post("/api/v1/namespaces/default/secrets", {"metadata": {"name": "elsewhere"}})
            seen = [await following() for _ in range(3)]
        assert {event["type"] for event in seen} == {"BOOKMARK"}
        assert int(seen[-1]["object"]["metadata"]["resourceVersion"]) >= int(
            seen[0]["object"]["metadata"]["resourceVersion"]
        )


async def test_a_client_that_leaves_is_forgotten(api, plane):
    listeners = plane.registry.store._listeners["configmaps"]
    before = len(listeners)
    async with api.watch(MAPS) as _:
        assert len(listeners) == before + 1

    async def forgotten():
        return len(listeners) == before

    await api.until(forgotten)
