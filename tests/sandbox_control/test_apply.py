"""Server-side apply: who owns which field."""

import pytest

APPLY = "application/apply-patch+yaml"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}


async def test_applying_creates_then_changes_and_takes_away_what_is_no_longer_applied(api):
    made = await api.patch(f"{MAPS}/a", config(x="1", y="2"), APPLY, fieldManager="me")
    assert made["metadata"]["managedFields"][0]["manager"] == "me"
    assert made["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {"f:x": {}, "f:y": {}}}
    after = await api.patch(f"{MAPS}/a", config(x="3"), APPLY, fieldManager="me")
    assert after["data"] == {"x": "3"}


async def test_two_managers_share_an_object_and_clash_over_a_field(api):
    await api.patch(f"{MAPS}/a", config(x="1"), APPLY, fieldManager="me")
    after = await api.patch(f"{MAPS}/a", config(y="2"), APPLY, fieldManager="you")
    assert after["data"] == {"x": "1", "y": "2"}
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{MAPS}/a", config(x="9", y="2"), APPLY, fieldManager="you")
    assert refused.value.code == 409
    assert refused.value.status["message"] == 'Apply failed with 1 conflict: conflict with "me" using v1: .data.x'
    forced = await api.patch(f"{MAPS}/a", config(x="9", y="2"), APPLY, fieldManager="you", force="true")
    assert forced["data"] == {"x": "9", "y": "2"}
    after = await api.patch(f"{MAPS}/a", config(), APPLY, fieldManager="me")
    assert after["data"] == {"x": "9", "y": "2"}, "what was taken over by force is no longer mine to remove"


async def test_a_plain_write_takes_the_field_from_its_applier(api):
    await api.patch(f"{MAPS}/a", config(x="1"), APPLY, fieldManager="me")
    await api.patch(f"{MAPS}/a", {"data": {"x": "2"}}, fieldManager="editor")
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{MAPS}/a", config(x="1"), APPLY, fieldManager="me")
    assert 'conflict with "editor"' in refused.value.status["message"]


async def test_containers_are_owned_one_by_one(api, make_deployment):
    wanted = make_deployment("a", replicas=0)
    await api.patch(f"{DEPLOYMENTS}/a", wanted, APPLY, fieldManager="me")
    side = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": "side:1"}]}}},
    }
    after = await api.patch(f"{DEPLOYMENTS}/a", side, APPLY, fieldManager="mesh")
    assert [row["name"] for row in after["spec"]["template"]["spec"]["containers"]] == ["vllm", "sidecar"]
    side["spec"]["template"]["spec"]["containers"] = []
    after = await api.patch(f"{DEPLOYMENTS}/a", side, APPLY, fieldManager="mesh")
    assert [row["name"] for row in after["spec"]["template"]["spec"]["containers"]] == ["vllm"]


async def test_applying_again_changes_nothing(api, make_deployment):
    wanted = make_deployment("a", replicas=0)
    first = await api.patch(f"{DEPLOYMENTS}/a", wanted, APPLY, fieldManager="me")
    again = await api.patch(f"{DEPLOYMENTS}/a", wanted, APPLY, fieldManager="me")
    assert again["metadata"]["generation"] == first["metadata"]["generation"] == 1


async def test_applying_needs_a_manager(api):
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{MAPS}/a", config(), APPLY)
    assert refused.value.code == 400
