"""Deletion: grace, finalizers, preconditions, and what becomes of dependents."""

import pytest

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


async def assigned(api, make_pod, name="a", **spec):
    wanted = make_pod(name)
    wanted["spec"] |= spec
    made = await api.post(PODS, wanted)
    await api.post(f"{PODS}/{name}/binding", {"target": {"name": "node-x"}})
    return made


async def test_a_pod_goes_when_its_kubelet_confirms(api, make_pod):
    made = await assigned(api, make_pod, terminationGracePeriodSeconds=7)
    gone = await api.delete(f"{PODS}/a")
    assert gone["metadata"]["deletionGracePeriodSeconds"] == 7
    assert (await api.get(f"{PODS}/a"))["metadata"]["deletionTimestamp"]
    with pytest.raises(AssertionError) as refused:
        await api.delete(f"{PODS}/a", {"gracePeriodSeconds": 0, "preconditions": {"uid": "another"}})
    assert refused.value.code == 409
    assert "the UID in the precondition (another) does not match" in refused.value.status["message"]
    await api.delete(f"{PODS}/a", {"gracePeriodSeconds": 0, "preconditions": {"uid": made["metadata"]["uid"]}})
    assert not await api.exists(f"{PODS}/a")


async def test_a_forced_deletion_removes_the_pod_at_once(api, make_pod):
    await assigned(api, make_pod)
    await api.delete(f"{PODS}/a", gracePeriodSeconds=0)
    assert not await api.exists(f"{PODS}/a")


async def test_a_second_deletion_shortens_the_grace_and_never_lengthens_it(api, make_pod):
    await assigned(api, make_pod)
    long = await api.delete(f"{PODS}/a", gracePeriodSeconds=20)
    short = await api.delete(f"{PODS}/a", gracePeriodSeconds=5)
    assert short["metadata"]["deletionGracePeriodSeconds"] == 5
    assert short["metadata"]["deletionTimestamp"] < long["metadata"]["deletionTimestamp"]
    again = await api.delete(f"{PODS}/a", gracePeriodSeconds=60)
    assert again["metadata"]["deletionTimestamp"] == short["metadata"]["deletionTimestamp"]


async def test_a_pod_that_was_never_assigned_goes_at_once(api, make_pod):
    await api.post(PODS, make_pod("a"))
    await api.delete(f"{PODS}/a")
    assert not await api.exists(f"{PODS}/a")


async def test_a_finalizer_holds_an_object_until_it_is_taken_off(api):
    await api.post(MAPS, {"metadata": {"name": "a", "finalizers": ["drill/undo"]}})
    await api.delete(f"{MAPS}/a")
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{MAPS}/a", {"metadata": {"finalizers": ["drill/undo", "late"]}})
    assert refused.value.code == 422
    await api.patch(f"{MAPS}/a", {"metadata": {"finalizers": []}})
    assert not await api.exists(f"{MAPS}/a")


async def test_a_collection_is_deleted_by_selector(api):
    for name, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        await api.post(MAPS, {"metadata": {"name": name, "labels": {"colour": colour}}})
    await api.delete(MAPS, labelSelector="colour=red")
    assert [row["metadata"]["name"] for row in await api.items(MAPS)] == ["c"]


def owned(name, *owners, block=True):
    rows = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": row["metadata"]["name"],
            "uid": row["metadata"]["uid"],
            "blockOwnerDeletion": block,
        }
        for row in owners
    ]
    return {"metadata": {"name": name, "ownerReferences": rows}}


async def gone(api, path):
    async def test():
        return not await api.exists(path)

    await api.until(test)


async def test_background_deletion_takes_the_dependents_afterwards(api):
    owner = await api.post(MAPS, {"metadata": {"name": "owner"}})
    middle = await api.post(MAPS, owned("middle", owner))
    await api.post(MAPS, owned("leaf", middle))
    answer = await api.delete(f"{MAPS}/owner", propagationPolicy="Background")
    assert answer["status"] == "Success"
    await gone(api, f"{MAPS}/middle")
    await gone(api, f"{MAPS}/leaf")


async def test_foreground_deletion_waits_for_the_dependents(api):
    owner = await api.post(MAPS, {"metadata": {"name": "owner"}})
    held = owned("held", owner)
    held["metadata"]["finalizers"] = ["drill/hold"]
    await api.post(MAPS, held)
    await api.delete(f"{MAPS}/owner", {"propagationPolicy": "Foreground"})

    async def held_is_deleting():
        return (await api.get(f"{MAPS}/held"))["metadata"].get("deletionTimestamp")

    await api.until(held_is_deleting)
    assert (await api.get(f"{MAPS}/owner"))["metadata"]["finalizers"] == ["foregroundDeletion"]
    await api.patch(f"{MAPS}/held", {"metadata": {"finalizers": None}})
    await gone(api, f"{MAPS}/owner")


async def test_orphaned_dependents_stay_and_forget_their_owner(api):
    owner = await api.post(MAPS, {"metadata": {"name": "owner"}})
    await api.post(MAPS, owned("child", owner))
    await api.delete(f"{MAPS}/owner", {"propagationPolicy": "Orphan"})
    await gone(api, f"{MAPS}/owner")
    assert not (await api.get(f"{MAPS}/child"))["metadata"].get("ownerReferences")


async def test_an_object_with_another_living_owner_stays(api):
    first = await api.post(MAPS, {"metadata": {"name": "first"}})
    second = await api.post(MAPS, {"metadata": {"name": "second"}})
    await api.post(MAPS, owned("child", first, second))
    await api.delete(f"{MAPS}/first")

    async def one_owner():
        return len((await api.get(f"{MAPS}/child"))["metadata"]["ownerReferences"]) == 1

    await api.until(one_owner)


async def test_an_object_born_with_a_dead_owner_is_collected(api):
    await api.post(MAPS, owned("child", {"metadata": {"name": "never", "uid": "0000"}}))
    await gone(api, f"{MAPS}/child")


async def test_a_deleted_namespace_empties_itself_and_goes(api, make_pod):
    await api.post("/api/v1/namespaces", {"metadata": {"name": "llm"}})
    await api.post("/api/v1/namespaces/llm/configmaps", {"metadata": {"name": "a", "finalizers": ["drill/hold"]}})
    await api.post("/api/v1/namespaces/llm/secrets", {"metadata": {"name": "s"}})
    answer = await api.delete("/api/v1/namespaces/llm")
    assert answer["status"]["phase"] == "Terminating"
    with pytest.raises(AssertionError) as refused:
        await api.post("/api/v1/namespaces/llm/pods", make_pod("late"))
    assert "because it is being terminated" in refused.value.status["message"]
    await gone(api, "/api/v1/namespaces/llm/secrets/s")
    await api.patch("/api/v1/namespaces/llm/configmaps/a", {"metadata": {"finalizers": None}})
    await gone(api, "/api/v1/namespaces/llm")
