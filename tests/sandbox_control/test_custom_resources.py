"""CustomResourceDefinitions make their plural served, as plain stored objects."""

import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CHAOS = "/apis/chaos-mesh.org/v1alpha1/namespaces/default/networkchaos"


def definition():
    return {
        "metadata": {"name": "networkchaos.chaos-mesh.org"},
        "spec": {
            "group": "chaos-mesh.org",
            "scope": "Namespaced",
            "names": {"plural": "networkchaos", "kind": "NetworkChaos", "listKind": "NetworkChaosList"},
            "versions": [
                {
                    "name": "v1alpha1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [{"name": "action", "type": "string", "jsonPath": ".spec.action"}],
                }
            ],
        },
    }


async def test_a_defined_kind_is_served_discovered_and_watched(api):
    with pytest.raises(AssertionError):
        await api.get(CHAOS)
    made = await api.post(CRDS, definition())
    assert {row["type"] for row in made["status"]["conditions"]} == {"NamesAccepted", "Established"}
    rows = (await api.get("/apis/chaos-mesh.org/v1alpha1"))["resources"]
    assert [row["name"] for row in rows] == ["networkchaos", "networkchaos/status"]
    async with api.watch(CHAOS) as following:
        await api.post(CHAOS, {"metadata": {"name": "slow"}, "spec": {"action": "bandwidth"}, "status": {"x": 1}})
        event = await following()
    assert event["object"]["apiVersion"] == "chaos-mesh.org/v1alpha1"
    assert "status" not in event["object"]


async def test_kubectl_prints_the_columns_of_a_definition(api, kubectl):
    await api.post(CRDS, definition())
    await kubectl(
        "create",
        "-f",
        "-",
        stdin="apiVersion: chaos-mesh.org/v1alpha1\nkind: NetworkChaos\n"
        "metadata: {name: slow}\nspec: {action: bandwidth}\n",
    )
    head, row = (await kubectl("get", "networkchaos")).splitlines()
    assert head.split() == ["NAME", "ACTION", "AGE"]
    assert row.split()[:2] == ["slow", "bandwidth"]


async def test_a_deleted_definition_takes_its_objects_even_held_ones_in_time(api):
    await api.post(CRDS, definition())
    await api.post(CHAOS, {"metadata": {"name": "free"}})
    await api.post(CHAOS, {"metadata": {"name": "held", "finalizers": ["chaos-mesh/records"]}})
    await api.delete(f"{CRDS}/networkchaos.chaos-mesh.org")

    async def only_held():
        return [row["metadata"]["name"] for row in await api.items(CHAOS)] == ["held"]

    await api.until(only_held)
    await api.patch(f"{CHAOS}/held", {"metadata": {"finalizers": []}})

    async def unserved():
        return not await api.exists(CHAOS)

    await api.until(unserved)
    assert not await api.exists(f"{CRDS}/networkchaos.chaos-mesh.org")
