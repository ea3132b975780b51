"""The eviction API and the budgets that it asks."""

import pytest

PODS = "/api/v1/namespaces/default/pods"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


async def engines(api, make_deployment, replicas=3):
    await api.post(DEPLOYMENTS, make_deployment("engine", replicas=replicas))

    async def ready():
        return (await api.get(f"{DEPLOYMENTS}/engine"))["status"].get("readyReplicas") == replicas

    await api.until(ready)
    return [row["metadata"]["name"] for row in await api.items(PODS)]


async def budget(api, **spec):
    await api.post(
        BUDGETS, {"metadata": {"name": "engine"}, "spec": {"selector": {"matchLabels": {"app": "engine"}}, **spec}}
    )

    async def known():
        return (await api.get(f"{BUDGETS}/engine")).get("status")

    return await api.until(known)


def eviction(name):
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"minAvailable": 2}, (3, 2, 1)),
        ({"minAvailable": "50%"}, (3, 2, 1)),
        ({"maxUnavailable": "50%"}, (3, 1, 2)),
        ({"maxUnavailable": 0}, (3, 3, 0)),
        ({"minAvailable": 5}, (3, 5, 0)),
    ],
    ids=str,
)
async def test_a_budget_counts_what_may_be_disrupted(api, kubelet, make_deployment, spec, wanted):
    await engines(api, make_deployment)
    status = await budget(api, **spec)
    assert (status["currentHealthy"], status["desiredHealthy"], status["disruptionsAllowed"]) == wanted


async def test_evictions_stop_at_the_budget_and_go_on_when_pods_are_back(api, kubelet, make_deployment):
    first, second, _ = await engines(api, make_deployment)
    await budget(api, minAvailable=2)
    kubelet.judge = lambda pod: "unready"
    answer = await api.post(f"{PODS}/{first}/eviction", eviction(first))
    assert answer["status"] == "Success"
    with pytest.raises(AssertionError) as refused:
        await api.post(f"{PODS}/{second}/eviction", eviction(second))
    assert refused.value.code == 429
    status = refused.value.status
    assert status["reason"] == "TooManyRequests"
    assert status["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert status["details"]["causes"][0]["reason"] == "DisruptionBudget"
    assert await api.exists(f"{PODS}/{second}")

    async def replacement():
        rows = await api.items(PODS)
        return len(rows) == 3 and next(
            (
                row
                for row in rows
                if {"type": "Ready", "status": "False"}.items()
                <= next((one for one in row["status"].get("conditions", []) if one["type"] == "Ready"), {}).items()
            ),
            None,
        )

    fresh = await api.until(replacement)
    await kubelet.set_state(f"{PODS}/{fresh['metadata']['name']}", "ready")

    async def allowed():
        return (await api.get(f"{BUDGETS}/engine"))["status"]["disruptionsAllowed"] == 1

    await api.until(allowed)
    await api.post(f"{PODS}/{second}/eviction", eviction(second))


async def test_a_dry_eviction_spends_nothing(api, kubelet, make_deployment):
    first, *_ = await engines(api, make_deployment)
    await budget(api, minAvailable=2)
    await api.post(f"{PODS}/{first}/eviction", eviction(first), dryRun="All")
    assert await api.exists(f"{PODS}/{first}")
    assert (await api.get(f"{BUDGETS}/engine"))["status"]["disruptionsAllowed"] == 1


async def test_an_eviction_without_a_budget_is_a_deletion_with_grace(api, kubelet, make_deployment):
    kubelet.confirms = False
    first, *_ = await engines(api, make_deployment)
    await api.post(f"{PODS}/{first}/eviction", eviction(first) | {"deleteOptions": {"gracePeriodSeconds": 7}})
    pod = await api.get(f"{PODS}/{first}")
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 7
    assert any(row["type"] == "DisruptionTarget" for row in pod["status"]["conditions"])
