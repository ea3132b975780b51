"""Create, read, update, delete: what an API server promises about one object."""

import pytest

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"


async def test_a_pod_gets_the_defaults_that_clients_rely_on(api, make_pod):
    made = await api.post(PODS, make_pod("a"))
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["terminationGracePeriodSeconds"] == 30
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert {row["key"] for row in made["spec"]["tolerations"]} == {
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    }
    assert made["metadata"]["uid"]
    assert made["metadata"]["creationTimestamp"].endswith("Z")


async def test_a_generated_name_starts_as_asked_and_is_free(api, make_pod):
    wanted = make_pod("")
    wanted["metadata"] = {"generateName": "engine-"}
    names = {(await api.post(PODS, wanted))["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5
    assert all(name.startswith("engine-") and len(name) == len("engine-") + 5 for name in names)


async def test_a_second_object_of_the_same_name_is_refused(api):
    await api.post(MAPS, {"metadata": {"name": "a"}})
    with pytest.raises(AssertionError) as refused:
        await api.post(MAPS, {"metadata": {"name": "a"}})
    assert refused.value.code == 409
    assert refused.value.status["reason"] == "AlreadyExists"
    assert refused.value.status["message"] == 'configmaps "a" already exists'


async def test_a_write_with_an_old_resource_version_conflicts(api):
    first = await api.post(MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    await api.patch(f"{MAPS}/a", {"data": {"x": "2"}})
    with pytest.raises(AssertionError) as refused:
        await api.put(f"{MAPS}/a", first)
    assert refused.value.code == 409
    assert "the object has been modified" in refused.value.status["message"]


async def test_a_write_that_changes_nothing_keeps_the_resource_version(api):
    first = await api.post(MAPS, {"metadata": {"name": "a"}, "data": {"x": "1"}})
    again = await api.patch(f"{MAPS}/a", {"data": {"x": "1"}})
    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_dry_run_answers_as_if_and_stores_nothing(api, make_pod):
    made = await api.post(PODS, make_pod("a"), dryRun="All")
    assert made["metadata"]["uid"]
    assert not await api.exists(f"{PODS}/a")


async def test_an_object_in_a_missing_namespace_is_refused(api, make_pod):
    with pytest.raises(AssertionError) as refused:
        await api.post("/api/v1/namespaces/nowhere/pods", make_pod("a"))
    assert refused.value.code == 404
    assert refused.value.status["message"] == 'namespaces "nowhere" not found'


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"spec": {"containers": []}}, "spec.containers: Required value"),
        ({"metadata": {"name": "Not_A_Name"}}, 'metadata.name: Invalid value: "Not_A_Name"'),
        (
            {"spec": {"containers": [{"name": "a", "image": "b", "resources": {"limits": {"cpu": "much"}}}]}},
            "spec.containers[0].resources.limits[cpu]: Invalid value",
        ),
    ],
    ids=["no containers", "bad name", "bad quantity"],
)
async def test_an_invalid_pod_is_refused_with_its_field(api, make_pod, change, words):
    with pytest.raises(AssertionError) as refused:
        await api.post(PODS, make_pod("a") | change)
    assert refused.value.code == 422
    assert words in refused.value.status["message"]
    assert refused.value.status["details"]["causes"]


async def test_a_deployment_whose_selector_misses_its_template_is_refused(api, make_deployment):
    wanted = make_deployment("a")
    wanted["spec"]["selector"]["matchLabels"] = {"app": "b"}
    with pytest.raises(AssertionError) as refused:
        await api.post("/apis/apps/v1/namespaces/default/deployments", wanted)
    assert "`selector` does not match template `labels`" in refused.value.status["message"]


@pytest.mark.parametrize("replicas", [-1, "three"])
async def test_impossible_replicas_are_refused(api, make_deployment, replicas):
    with pytest.raises(AssertionError) as refused:
        await api.post("/apis/apps/v1/namespaces/default/deployments", make_deployment("a", replicas=replicas))
    assert refused.value.code == 422
    assert "spec.replicas: Invalid value" in refused.value.status["message"]


@pytest.mark.parametrize("spec", ["words", {"containers": "one"}, {"containers": [1]}], ids=str)
async def test_an_object_of_the_wrong_shape_is_a_bad_request_not_a_crash(api, make_pod, spec):
    with pytest.raises(AssertionError) as refused:
        await api.post(PODS, make_pod("a") | {"spec": spec})
    assert refused.value.code in (400, 422)


async def test_a_running_pods_spec_cannot_be_changed_but_its_image_can(api, make_pod):
    await api.post(PODS, make_pod("a"))
    changed = await api.patch(
        f"{PODS}/a",
        [{"op": "replace", "path": "/spec/containers/0/image", "value": "sim:2"}],
        "application/json-patch+json",
    )
    assert changed["spec"]["containers"][0]["image"] == "sim:2"
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{PODS}/a", {"spec": {"restartPolicy": "Never"}})
    assert "pod updates may not change fields other than" in refused.value.status["message"]


async def test_a_status_write_leaves_the_spec_and_a_spec_write_the_status(api, make_deployment):
    path = "/apis/apps/v1/namespaces/default/deployments"
    made = await api.post(path, make_deployment("a", replicas=0) | {"status": {"replicas": 9}})
    assert made["status"] == {}
    both = {"spec": {"replicas": 0, "paused": True}, "status": {"collisionCount": 7}}
    after = await api.patch(f"{path}/a/status", both)
    assert "paused" not in after["spec"]
    assert after["status"]["collisionCount"] == 7
    assert after["metadata"]["generation"] == 1
    after = await api.patch(f"{path}/a", both | {"status": {"collisionCount": 8}})
    assert after["spec"]["paused"]
    assert after["metadata"]["generation"] == 2
    assert after["status"]["collisionCount"] == 7


async def test_selectors_choose_by_label_and_field(api, make_pod):
    for name, role in (("a", "prefill"), ("b", "decode"), ("c", "router")):
        await api.post(PODS, make_pod(name, role=role, app="llm"))

    async def names(**query):
        return [row["metadata"]["name"] for row in await api.items(PODS, **query)]

    assert await names(labelSelector="role in (prefill, decode),app=llm") == ["a", "b"]
    assert await names(labelSelector="role notin (router),!canary") == ["a", "b"]
    assert await names(labelSelector="role!=decode") == ["a", "c"]
    assert await names(fieldSelector="metadata.name=b") == ["b"]
    assert await names(fieldSelector="status.phase!=Pending") == []
    for query in ({"fieldSelector": "spec.colour=red"}, {"labelSelector": "a in b"}):
        with pytest.raises(AssertionError) as refused:
            await api.get(PODS, **query)
        assert refused.value.code == 400


async def test_a_long_list_comes_in_pages_of_one_state(api):
    for number in range(7):
        await api.post(MAPS, {"metadata": {"name": f"m{number}"}})
    first = await api.get(MAPS, limit=3)
    assert first["metadata"]["remainingItemCount"] == 4
    await api.post(MAPS, {"metadata": {"name": "m3x"}})
    second = await api.get(MAPS, limit=3, **{"continue": first["metadata"]["continue"]})
    assert [row["metadata"]["name"] for row in second["items"]] == ["m3", "m3x", "m4"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    with pytest.raises(AssertionError) as refused:
        await api.get(MAPS, **{"continue": "nonsense"})
    assert refused.value.code == 400


async def test_the_scale_of_a_deployment_is_read_and_written(api, make_deployment):
    path = "/apis/apps/v1/namespaces/default/deployments"
    await api.post(path, make_deployment("a", replicas=1))
    scale = await api.get(f"{path}/a/scale")
    assert scale["kind"] == "Scale"
    assert scale["status"]["selector"] == "app=a"
    assert (await api.patch(f"{path}/a/scale", {"spec": {"replicas": 2}}))["spec"]["replicas"] == 2
    assert (await api.get(f"{path}/a"))["spec"]["replicas"] == 2


async def test_a_service_gets_an_address_that_stays(api):
    path = "/api/v1/namespaces/default/services"
    made = await api.post(path, {"metadata": {"name": "a"}, "spec": {"ports": [{"port": 80}]}})
    other = await api.post(path, {"metadata": {"name": "b"}, "spec": {"ports": [{"port": 80}]}})
    assert made["spec"]["clusterIP"].startswith("10.97.")
    assert made["spec"]["clusterIP"] != other["spec"]["clusterIP"]
    assert made["spec"]["ports"][0] == {"port": 80, "protocol": "TCP", "targetPort": 80}
    with pytest.raises(AssertionError) as refused:
        await api.patch(f"{path}/a", {"spec": {"clusterIP": "10.97.9.9"}})
    assert refused.value.code == 422


async def test_what_is_not_served_is_a_404_with_a_status(api):
    for path in ("/api/v1/unknowns", "/apis/nobody.io/v1/things", "/nothing", f"{PODS}/a/unknown"):
        with pytest.raises(AssertionError) as refused:
            await api.get(path)
        assert refused.value.status["kind"] == "Status"
        assert refused.value.code == 404


async def test_autoscaling_v1_and_v2_show_the_same_autoscaler(api):
    base = "namespaces/default/horizontalpodautoscalers"
    await api.post(
        f"/apis/autoscaling/v1/{base}",
        {
            "metadata": {"name": "a"},
            "spec": {
                "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"},
                "maxReplicas": 5,
                "targetCPUUtilizationPercentage": 60,
            },
        },
    )
    new = await api.get(f"/apis/autoscaling/v2/{base}/a")
    assert new["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 60
    old = await api.get(f"/apis/autoscaling/v1/{base}/a")
    assert old["spec"]["targetCPUUtilizationPercentage"] == 60
    assert "metrics" not in old["spec"]
