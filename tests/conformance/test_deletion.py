"""Deletion of what is no pod: preconditions, finalizers, and what becomes of dependents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from stage import Stage

from drillbook.targets.answers import ConflictError, InvalidError

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def family(stage: Stage, name: str) -> str:
    """An owner and its dependent, which is called ``<name>-child``. Returns the owner's path."""
    owner = await stage.create("configmaps", {"metadata": {"name": name}})
    reference = {
        "apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": owner["metadata"]["uid"],
        "controller": True, "blockOwnerDeletion": True,
    }  # fmt: skip
    await stage.create("configmaps", {"metadata": {"name": f"{name}-child", "ownerReferences": [reference]}})
    return stage.path("configmaps", name)


async def remove(stage: Stage, path: str, policy: str) -> tuple[int, dict[str, Any]]:
    body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": policy}
    return await stage.status_of("DELETE", path, body)


async def test_a_precondition_that_does_not_hold_is_a_conflict(stage):
    made = await stage.create("configmaps", {"metadata": {"name": "guarded"}})
    path = stage.path("configmaps", "guarded")
    with pytest.raises(ConflictError, match=r"the UID in the precondition \(other\) does not match"):
        await stage.kube.delete(path, uid="other")
    body = {"preconditions": {"resourceVersion": "1"}}
    code, status = await stage.status_of("DELETE", path, body)
    assert (code, status["reason"]) == (409, "Conflict")
    assert "the ResourceVersion in the precondition (1) does not match" in status["message"]
    answer = await stage.kube.delete(path, uid=made["metadata"]["uid"])
    assert (answer["kind"], answer["status"], answer["details"]["name"]) == ("Status", "Success", "guarded")
    assert await stage.kube.find(path) is None


async def test_a_finalizer_holds_what_is_deleted_until_it_is_taken_away(stage):
    body = {"metadata": {"name": "held", "finalizers": ["drillbook.io/hold"]}}
    made = await stage.create("configmaps", body)
    path = stage.path("configmaps", "held")
    version = made["metadata"]["resourceVersion"]
    stream = stage.stream(stage.path("configmaps"), resourceVersion=version, fieldSelector="metadata.name=held")
    await stage.kube.delete(path)
    held = await stage.kube.get(path)
    assert held["metadata"]["deletionTimestamp"]
    assert held["metadata"]["deletionGracePeriodSeconds"] == 0
    with pytest.raises(InvalidError, match="no new finalizers can be added if the object is being deleted"):
        await stage.kube.patch(path, {"metadata": {"finalizers": ["drillbook.io/hold", "drillbook.io/more"]}})
    await stage.kube.patch(path, {"metadata": {"finalizers": None}})
    assert await stage.kube.find(path) is None
    async with asyncio.timeout(60):
        told = [await anext(stream), await anext(stream)]
    await stream.aclose()
    assert [event["type"] for event in told] == ["MODIFIED", "DELETED"]
    assert told[1]["object"]["metadata"]["finalizers"] == ["drillbook.io/hold"]


async def background(stage: Stage) -> tuple[int, dict[str, Any] | None]:
    path = await family(stage, "behind")
    code, _ = await remove(stage, path, "Background")
    owner = await stage.kube.find(path)
    await stage.gone(f"{path}-child")
    return code, owner


async def foreground(stage: Stage) -> dict[str, Any]:
    path = await family(stage, "before")
    hold = {"metadata": {"finalizers": ["drillbook.io/hold"]}}
    await stage.kube.patch(f"{path}-child", hold)
    await remove(stage, path, "Foreground")
    async with asyncio.timeout(60):
        while not (await stage.kube.get(f"{path}-child"))["metadata"].get("deletionTimestamp"):
            await asyncio.sleep(0.1)
    owner = await stage.kube.get(path)
    await stage.kube.patch(f"{path}-child", {"metadata": {"finalizers": None}})
    await stage.gone(path)
    return owner


async def orphaning(stage: Stage) -> dict[str, Any]:
    path = await family(stage, "orphaned")
    await remove(stage, path, "Orphan")
    await stage.gone(path)
    await asyncio.sleep(1)
    return await stage.kube.get(f"{path}-child")


@pytest.mark.parametrize("told", [background], indirect=True)
async def test_in_the_background_dependents_go_after_their_owner(told):
    code, owner = told
    assert code == 200
    assert owner is None


@pytest.mark.parametrize("told", [foreground], indirect=True)
async def test_in_the_foreground_the_owner_waits_for_its_dependents(told):
    assert told["metadata"]["deletionTimestamp"]
    assert told["metadata"]["finalizers"] == ["foregroundDeletion"]


@pytest.mark.parametrize("told", [orphaning], indirect=True)
async def test_orphans_lose_their_owner_and_stay(told):
    assert "ownerReferences" not in told["metadata"]
    assert "deletionTimestamp" not in told["metadata"]


async def test_a_collection_is_deleted_by_its_labels(stage):
    for number in range(3):
        labels = {"sweep": "no" if number == 2 else "yes"}
        await stage.create("configmaps", {"metadata": {"name": f"swept-{number}", "labels": labels}})
    await stage.kube.json("DELETE", stage.path("configmaps"), params={"labelSelector": "sweep=yes"})
    left = await stage.kube.list(stage.path("configmaps"), labels="sweep")
    assert [item["metadata"]["name"] for item in left] == ["swept-2"]


async def ending_namespace(stage: Stage) -> tuple[int, dict[str, Any]]:
    name = f"{stage.namespace}-ending"
    path = f"/api/v1/namespaces/{name}"
    await stage.kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    body = {"metadata": {"name": "last", "finalizers": ["drillbook.io/hold"]}}
    await stage.kube.create(f"{path}/configmaps", body)
    await stage.kube.delete(path)
    async with asyncio.timeout(60):
        while (await stage.kube.get(path))["status"]["phase"] != "Terminating":
            await asyncio.sleep(0.05)
    refusal = await stage.status_of("POST", f"{path}/configmaps", {"metadata": {"name": "late"}})
    await stage.kube.patch(f"{path}/configmaps/last", {"metadata": {"finalizers": None}})
    await stage.gone(path)
    return refusal


@pytest.mark.parametrize("told", [ending_namespace], indirect=True)
async def test_an_ending_namespace_takes_nothing_in_and_goes_with_its_contents(told):
    code, status = told
    assert (code, status["reason"]) == (403, "Forbidden")
    assert [cause["reason"] for cause in status["details"]["causes"]] == ["NamespaceTerminating"]
