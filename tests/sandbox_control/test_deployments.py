"""Deployments: from template to ready pods, and from one template to the next."""

import asyncio

import pytest

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SETS = "/apis/apps/v1/namespaces/default/replicasets"
PODS = "/api/v1/namespaces/default/pods"


async def settled(api, name="engine", replicas=3):
    async def test():
        found = await api.get(f"{DEPLOYMENTS}/{name}")
        status = found["status"]
        wanted = {
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
            "observedGeneration": found["metadata"]["generation"],
        }
        reasons = {row["type"]: row["reason"] for row in status.get("conditions", [])}
        return wanted.items() <= status.items() and reasons["Progressing"] == "NewReplicaSetAvailable" and status

    return await api.until(test)


def condition(obj, kind):
    return next(row for row in obj["status"]["conditions"] if row["type"] == kind)


async def set_image(api, image, name="engine"):
    return await api.patch(
        f"{DEPLOYMENTS}/{name}",
        {"spec": {"template": {"spec": {"containers": [{"name": "vllm", "image": image}]}}}},
        "application/strategic-merge-patch+json",
    )


async def test_a_deployment_becomes_available_and_says_so(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine"))
    await settled(api)
    made = await api.get(f"{DEPLOYMENTS}/engine")
    assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert condition(made, "Available")["reason"] == "MinimumReplicasAvailable"
    assert condition(made, "Progressing")["reason"] == "NewReplicaSetAvailable"
    (owner,) = await api.items(SETS)
    hashed = owner["metadata"]["labels"]["pod-template-hash"]
    pods = await api.items(PODS)
    assert len(pods) == 3
    assert {row["metadata"]["labels"]["pod-template-hash"] for row in pods} == {hashed}
    assert {row["metadata"]["ownerReferences"][0]["uid"] for row in pods} == {owner["metadata"]["uid"]}
    reasons = {row["reason"] for row in await api.items("/api/v1/namespaces/default/events")}
    assert {"ScalingReplicaSet", "SuccessfulCreate", "Scheduled"} <= reasons


async def test_a_killed_pod_is_replaced(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine"))
    await settled(api)
    before = {row["metadata"]["name"] for row in await api.items(PODS)}
    victim = sorted(before)[0]
    await api.delete(f"{PODS}/{victim}", gracePeriodSeconds=0)

    async def replaced():
        rows = await api.items(PODS)
        names = {row["metadata"]["name"] for row in rows}
        return len(names - before) == 1 and len(names) == 3

    await api.until(replaced)
    await settled(api)


async def test_a_rolling_update_keeps_within_surge_and_unavailable(api, kubelet, make_deployment):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    await api.post(DEPLOYMENTS, make_deployment("engine", replicas=4, strategy=strategy))
    await settled(api, replicas=4)
    version = (await api.get(SETS))["metadata"]["resourceVersion"]
    sizes, ready = {}, {}
    async with api.watch(SETS, resourceVersion=version) as following:
        await set_image(api, "sim:2")
        while True:
            row = (await following())["object"]
            name = row["metadata"]["name"]
            sizes[name] = row["spec"]["replicas"]
            ready[name] = row["status"].get("availableReplicas", 0)
            assert sum(sizes.values()) <= 5
            if len(sizes) == 2:
                assert sum(ready.values()) >= 3
                if sorted(ready.values()) == [0, 4] and sorted(sizes.values()) == [0, 4]:
                    break
    await settled(api, replicas=4)
    assert {
        row["spec"]["containers"][0]["image"]
        for row in await api.items(PODS)
        if "deletionTimestamp" not in row["metadata"]
    } == {"sim:2"}


async def test_undoing_a_rollout_reuses_the_old_set_as_a_new_revision(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine"))
    await settled(api)
    (first,) = await api.items(SETS)
    await set_image(api, "sim:2")
    await settled(api)
    await set_image(api, "sim:1")
    await settled(api)
    sets = {row["metadata"]["name"]: row for row in await api.items(SETS)}
    assert len(sets) == 2
    again = sets[first["metadata"]["name"]]
    assert again["spec"]["replicas"] == 3
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "3"
    assert again["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"


async def test_a_broken_image_leaves_the_old_pods_serving_and_misses_its_deadline(api, kubelet, make_deployment):
    kubelet.judge = lambda pod: "unready" if pod["spec"]["containers"][0]["image"] == "sim:bad" else "ready"
    await api.post(DEPLOYMENTS, make_deployment("engine", progressDeadlineSeconds=1))
    await settled(api)
    await set_image(api, "sim:bad")

    async def late():
        found = await api.get(f"{DEPLOYMENTS}/engine")
        return condition(found, "Progressing")["reason"] == "ProgressDeadlineExceeded" and found

    found = await api.until(late)
    assert condition(found, "Progressing")["status"] == "False"
    assert condition(found, "Available")["status"] == "True"
    assert found["status"]["readyReplicas"] == 3
    await set_image(api, "sim:1")
    await settled(api)


async def test_recreate_starts_no_new_pod_before_the_last_old_one_is_gone(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine", strategy={"type": "Recreate"}))
    await settled(api)
    kubelet.confirms = False
    await set_image(api, "sim:2")

    async def all_terminating():
        return all("deletionTimestamp" in row["metadata"] for row in await api.items(PODS))

    await api.until(all_terminating)
    await asyncio.sleep(0.1)
    pods = await api.items(PODS)
    assert {row["spec"]["containers"][0]["image"] for row in pods} == {"sim:1"}
    kubelet.confirms = True
    for row in pods:
        await api.delete(f"{PODS}/{row['metadata']['name']}", gracePeriodSeconds=0)
    await settled(api)


async def test_a_paused_deployment_scales_but_does_not_roll(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine"))
    await settled(api)
    await api.patch(f"{DEPLOYMENTS}/engine", {"spec": {"paused": True}})
    await set_image(api, "sim:2")
    await api.patch(f"{DEPLOYMENTS}/engine/scale", {"spec": {"replicas": 5}})

    async def scaled():
        return (await api.get(f"{DEPLOYMENTS}/engine"))["status"].get("readyReplicas") == 5

    await api.until(scaled)
    assert {row["spec"]["containers"][0]["image"] for row in await api.items(PODS)} == {"sim:1"}
    await api.patch(f"{DEPLOYMENTS}/engine", {"spec": {"paused": False}})
    await settled(api, replicas=5)
    assert condition(await api.get(f"{DEPLOYMENTS}/engine"), "Progressing")["reason"] == "NewReplicaSetAvailable"


async def test_history_is_kept_up_to_its_limit(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine", replicas=1, revisionHistoryLimit=1))
    await settled(api, replicas=1)
    for number in range(2, 5):
        await set_image(api, f"sim:{number}")
        await settled(api, replicas=1)

    async def forgotten():
        return len(await api.items(SETS)) == 2

    await api.until(forgotten)


async def test_a_pod_that_is_relabelled_is_let_go_and_one_that_matches_is_adopted(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine", replicas=1))
    await settled(api, replicas=1)
    (only,) = await api.items(PODS)
    name = only["metadata"]["name"]
    await api.patch(f"{PODS}/{name}", {"metadata": {"labels": {"app": "quarantine"}}})

    async def replaced():
        rows = await api.items(PODS)
        return len(rows) == 2 and rows

    await api.until(replaced)
    released = await api.get(f"{PODS}/{name}")
    assert not released["metadata"].get("ownerReferences")
    await settled(api, replicas=1)
    await api.patch(f"{PODS}/{name}", {"metadata": {"labels": {"app": "engine"}}})

    async def one_again():
        rows = [row for row in await api.items(PODS) if "deletionTimestamp" not in row["metadata"]]
        return len(rows) == 1 and rows[0]["metadata"].get("ownerReferences")

    await api.until(one_again)


async def test_deleting_a_deployment_takes_its_sets_and_pods(api, kubelet, make_deployment):
    await api.post(DEPLOYMENTS, make_deployment("engine"))
    await settled(api)
    await api.delete(f"{DEPLOYMENTS}/engine")

    async def empty():
        return not await api.items(SETS) and not await api.items(PODS)

    await api.until(empty)


@pytest.mark.parametrize(
    ("surge", "unavailable", "most", "least"),
    [("25%", "25%", 13, 8), (0, 0, 10, 9), ("100%", 0, 20, 10), (3, "50%", 13, 5)],
)
def test_percentages_round_surge_up_and_unavailable_down(make_deployment, surge, unavailable, most, least):
    from drillbook.sandbox.control.controllers.rollouts import Budget

    budget = Budget.of(
        make_deployment(
            "a",
            replicas=10,
            strategy={"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}},
        )
    )
    assert (10 + budget.surge, 10 - budget.unavailable) == (most, least)
