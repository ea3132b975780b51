"""Lists and watches: what every collector of drillbook stands on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stage import Stage, is_ready

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def make_maps(stage: Stage, prefix: str, count: int, **labels: str) -> None:
    for number in range(count):
        metadata = {"name": f"{prefix}-{number}", "labels": {"set": prefix, "number": str(number), **labels}}
        await stage.create("configmaps", {"metadata": metadata})


async def collect(stage: Stage, seconds: int, path: str, **params: str) -> list[dict[str, Any]]:
    return [event async for event in stage.stream(path, timeoutSeconds=str(seconds), **params)]


async def names(stage: Stage, plural: str = "configmaps", **params: str) -> list[str]:
    return [item["metadata"]["name"] for item in (await stage.kube.get(stage.path(plural), **params))["items"]]


async def watching(stage: Stage) -> list[dict[str, Any]]:
    await make_maps(stage, "before", 2)
    path = stage.path("configmaps")
    version = (await stage.kube.get(path))["metadata"]["resourceVersion"]
    told = asyncio.create_task(
        collect(
            stage, 4, path, resourceVersion=version, allowWatchBookmarks="true", labelSelector="set in (before,moved)"
        )
    )
    await stage.create("configmaps", {"metadata": {"name": "moved", "labels": {"set": "moved"}}})
    await stage.kube.patch(f"{path}/moved", {"data": {"a": "1"}})
    await stage.kube.patch(f"{path}/moved", {"metadata": {"labels": {"set": "elsewhere"}}})
    await stage.kube.patch(f"{path}/moved", {"metadata": {"labels": {"set": "moved"}}})
    await stage.kube.delete(f"{path}/moved")
    return await told


@pytest.mark.parametrize("told", [watching], indirect=True)
class TestWatching:
    async def test_a_watch_tells_what_came_after_its_list_once_and_in_order(self, told):
        changes = [event for event in told if event["type"] != "BOOKMARK"]
        assert [event["type"] for event in changes] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]
        versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in changes]
        assert versions == sorted(set(versions))

    async def test_what_leaves_a_selection_is_deleted_for_its_watcher_and_shown_as_it_last_was_in_it(self, told):
        changes = [event["object"]["metadata"] for event in told if event["type"] == "DELETED"]
        assert [meta["labels"]["set"] for meta in changes] == ["moved", "moved"]

    async def test_a_quiet_watch_ends_with_a_bookmark_that_is_nothing_but_a_version(self, told):
        last = told[-1]
        assert last["type"] == "BOOKMARK"
        assert last["object"]["kind"] == "ConfigMap"
        assert "name" not in last["object"]["metadata"]
        assert int(last["object"]["metadata"]["resourceVersion"]) >= max(
            int(event["object"]["metadata"]["resourceVersion"]) for event in told
        )


async def test_a_watch_without_a_version_begins_with_what_there_is(stage):
    await make_maps(stage, "present", 2)
    told = await collect(stage, 1, stage.path("configmaps"), labelSelector="set=present")
    found = {(event["type"], event["object"]["metadata"]["name"]) for event in told}
    assert found == {("ADDED", "present-0"), ("ADDED", "present-1")}


async def test_a_version_that_history_has_lost_is_answered_with_expired_inside_the_stream(stage):
    told = await collect(stage, 1, stage.path("events"), resourceVersion="1")
    if not told or told[0]["type"] != "ERROR":
        pytest.skip("this cluster is so young that its history still reaches back to version 1")
    assert [event["type"] for event in told] == ["ERROR"]
    status = told[0]["object"]
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")


async def test_pages_are_of_one_moment_and_count_what_remains(stage):
    await make_maps(stage, "paged", 5)
    path, params = stage.path("configmaps"), {"limit": "2", "labelSelector": "set=paged"}
    first = await stage.kube.get(path, **params)
    second = await stage.kube.get(path, **params, **{"continue": first["metadata"]["continue"]})
    third = await stage.kube.get(path, **params, **{"continue": second["metadata"]["continue"]})
    pages = [first, second, third]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert len({page["metadata"]["resourceVersion"] for page in pages}) == 1
    assert "continue" not in third["metadata"]
    assert [item["metadata"]["name"] for page in pages for item in page["items"]] == [f"paged-{n}" for n in range(5)]


async def test_a_page_without_selectors_says_how_many_remain(stage):
    await make_maps(stage, "counted", 3)
    page = await stage.kube.get(stage.path("configmaps"), limit="1")
    assert page["metadata"]["remainingItemCount"] == len(await names(stage)) - 1


async def test_a_continue_token_that_is_none_is_refused(stage):
    code, status = await stage.status_of("GET", stage.path("configmaps"), limit="1", **{"continue": "nonsense"})
    assert (code, status["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("set=selected,number=1", ["1"]),
        ("set=selected,number!=1", ["0", "2"]),
        ("set=selected,number in (0, 2)", ["0", "2"]),
        ("set=selected,number notin (0,1)", ["2"]),
        ("set==selected,extra", ["2"]),
        ("set=selected,!extra", ["0", "1"]),
    ],
)
async def test_label_selectors(stage, selector, found):
    if not await names(stage, labelSelector="set=selected"):
        await make_maps(stage, "selected", 2)
        await stage.create(
            "configmaps",
            {"metadata": {"name": "selected-2", "labels": {"set": "selected", "number": "2", "extra": ""}}},
        )
    assert await names(stage, labelSelector=selector) == [f"selected-{number}" for number in found]


async def test_a_label_selector_that_is_none_is_refused(stage):
    code, status = await stage.status_of("GET", stage.path("pods"), labelSelector="a in b")
    assert (code, status["reason"]) == (400, "BadRequest")


async def running(stage: Stage) -> dict[str, Any]:
    await stage.run("selectable")
    return await stage.ready("selectable")


@pytest.mark.parametrize("told", [running], indirect=True)
class TestFieldSelectors:
    async def test_pods_are_selected_by_name_node_and_phase(self, stage, told):
        node = told["spec"]["nodeName"]
        mine = f"metadata.name=selectable,metadata.namespace={stage.namespace}"
        assert await names(stage, "pods", fieldSelector=f"{mine},spec.nodeName={node},status.phase=Running")
        assert not await names(stage, "pods", fieldSelector=f"{mine},spec.nodeName!={node}")
        assert not await names(stage, "pods", fieldSelector=f"{mine},status.phase!=Running")

    async def test_events_are_selected_by_what_they_are_about(self, stage, told):
        await stage.reasons("selectable", "Started")
        about = f"involvedObject.uid={told['metadata']['uid']},involvedObject.kind=Pod"
        rows = await stage.kube.list(stage.path("events"), fields=f"{about},reason=Started")
        assert [row["involvedObject"]["name"] for row in rows] == ["selectable"]

    async def test_a_field_that_cannot_be_selected_is_refused(self, stage, told):
        code, status = await stage.status_of("GET", stage.path("pods"), fieldSelector="spec.hostname=x")
        assert (code, status["reason"]) == (400, "BadRequest")
        assert "field label not supported: spec.hostname" in status["message"]

    async def test_a_table_has_kubectls_columns(self, stage, told):
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
        code, table = await stage.status_of(
            "GET", stage.path("pods"), accept=accept, fieldSelector="metadata.name=selectable"
        )
        assert (code, table["kind"], table["apiVersion"]) == (200, "Table", "meta.k8s.io/v1")
        columns = [row["name"] for row in table["columnDefinitions"]]
        assert columns[:5] == ["Name", "Ready", "Status", "Restarts", "Age"]
        assert {"IP", "Node"} <= set(columns)
        assert table["rows"][0]["cells"][:3] == ["selectable", "1/1", "Running"]
        assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"

    async def test_a_get_and_a_watch_show_the_same_object_at_the_same_version(self, stage, told):
        found = await stage.kube.get(stage.path("pods", "selectable"))
        same = [
            one.obj
            for one in stage.pods.of("selectable")
            if one.obj["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]
        ]
        assert same == [found]
        assert is_ready(found)
