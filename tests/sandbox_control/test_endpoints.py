"""Endpoints and EndpointSlices: the ready pods behind a service."""

CORE = "/api/v1/namespaces/default"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


async def serve(api, make_pod, name="a", **service):
    wanted = make_pod(name, app="llm")
    wanted["spec"]["containers"][0]["ports"] = [{"name": "http", "containerPort": 8000}]
    await api.post(f"{CORE}/pods", wanted)
    if not await api.exists(f"{CORE}/services/llm"):
        await api.post(
            f"{CORE}/services",
            {
                "metadata": {"name": "llm"},
                "spec": {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": "http"}], **service},
            },
        )


async def subsets(api):
    return (await api.get(f"{CORE}/endpoints/llm")).get("subsets", [])


async def conditions(api):
    found = await api.items(SLICES, labelSelector="kubernetes.io/service-name=llm")
    return [row["conditions"] for one in found for row in one["endpoints"]]


async def test_a_ready_pod_is_an_address_with_its_named_port(api, kubelet, make_pod):
    await serve(api, make_pod)

    async def there():
        return await api.exists(f"{CORE}/endpoints/llm") and await subsets(api)

    (subset,) = await api.until(there)
    pod = await api.get(f"{CORE}/pods/a")
    assert subset["ports"] == [{"port": 8000, "protocol": "TCP"}]
    assert subset["addresses"][0]["ip"] == pod["status"]["podIP"]
    assert subset["addresses"][0]["targetRef"]["uid"] == pod["metadata"]["uid"]
    (one,) = await api.items(SLICES)
    assert one["endpoints"][0]["conditions"] == {"ready": True, "serving": True, "terminating": False}
    assert one["ports"] == [{"name": "", "port": 8000, "protocol": "TCP"}]


async def test_an_unready_pod_is_listed_apart_and_a_leaving_one_is_serving_but_not_ready(api, kubelet, make_pod):
    kubelet.confirms = False
    await serve(api, make_pod)

    async def ready():
        return await api.exists(f"{CORE}/endpoints/llm") and [row for row in await subsets(api) if row.get("addresses")]

    await api.until(ready)
    await kubelet.set_state(f"{CORE}/pods/a", "unready")

    async def apart():
        return [row for row in await subsets(api) if row.get("notReadyAddresses") and not row.get("addresses")]

    await api.until(apart)
    assert await conditions(api) == [{"ready": False, "serving": False, "terminating": False}]
    await kubelet.set_state(f"{CORE}/pods/a", "ready")
    await api.delete(f"{CORE}/pods/a")

    async def leaving():
        return await conditions(api) == [{"ready": False, "serving": True, "terminating": True}]

    await api.until(leaving)
    assert await subsets(api) == []


async def test_a_headless_service_may_publish_who_is_not_ready(api, kubelet, make_pod):
    kubelet.judge = lambda pod: "unready"
    await serve(api, make_pod, clusterIP="None", publishNotReadyAddresses=True)

    async def published():
        return await api.exists(f"{CORE}/endpoints/llm") and [row for row in await subsets(api) if row.get("addresses")]

    await api.until(published)
    assert (await conditions(api))[0]["ready"]


async def test_a_deleted_service_takes_its_endpoints_and_slices(api, kubelet, make_pod):
    await serve(api, make_pod)

    async def there():
        return await api.items(SLICES)

    await api.until(there)
    await api.delete(f"{CORE}/services/llm")

    async def gone():
        return not await api.items(SLICES) and not await api.exists(f"{CORE}/endpoints/llm")

    await api.until(gone)
