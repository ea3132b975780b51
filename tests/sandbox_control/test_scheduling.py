"""Where pods go, why they cannot, and what becomes of them when their node fails."""

import pytest

from drillbook.sandbox.control.settings import Settings

PODS = "/api/v1/namespaces/default/pods"


async def placed(api, name):
    async def test():
        return (await api.get(f"{PODS}/{name}"))["spec"].get("nodeName")

    return await api.until(test)


async def refusal(api, name):
    async def test():
        rows = (await api.get(f"{PODS}/{name}"))["status"].get("conditions", [])
        return next((row["message"] for row in rows if (row["type"], row["status"]) == ("PodScheduled", "False")), None)

    return await api.until(test)


async def test_gpus_run_out_and_a_freed_one_is_given_to_who_waits(api, kubelet, make_pod):
    for name in ("a", "b"):
        await api.post(PODS, make_pod(name, gpus=4))
    assert {await placed(api, "a"), await placed(api, "b")} == {"node-a", "node-b"}
    await api.post(PODS, make_pod("c", gpus=1))
    assert (await refusal(api, "c")).startswith("0/2 nodes are available: 2 Insufficient nvidia.com/gpu.")
    (event,) = [
        row for row in await api.items("/api/v1/namespaces/default/events") if row["reason"] == "FailedScheduling"
    ]
    assert event["involvedObject"]["name"] == "c"
    node = await placed(api, "a")
    await api.delete(f"{PODS}/a", gracePeriodSeconds=0)
    assert await placed(api, "c") == node


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"nodeSelector": {"zone": "c"}}, "2 node(s) didn't match Pod's node affinity/selector"),
        (
            {
                "affinity": {
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [
                                {"matchExpressions": [{"key": "zone", "operator": "NotIn", "values": ["a", "b"]}]}
                            ]
                        }
                    }
                }
            },
            "2 node(s) didn't match Pod's node affinity/selector",
        ),
        (
            {"containers": [{"name": "a", "image": "b", "resources": {"requests": {"cpu": "17", "memory": "65Gi"}}}]},
            "2 Insufficient cpu, 2 Insufficient memory",
        ),
    ],
    ids=["selector", "affinity", "resources"],
)
async def test_a_pod_that_fits_nowhere_says_why(api, kubelet, make_pod, spec, words):
    wanted = make_pod("a")
    wanted["spec"] |= spec
    await api.post(PODS, wanted)
    assert words in await refusal(api, "a")


async def test_taints_keep_pods_away_unless_they_tolerate_them(api, kubelet, make_pod):
    taint = {"key": "gpu", "value": "broken", "effect": "NoSchedule"}
    for node in ("node-a", "node-b"):
        await api.patch(f"/api/v1/nodes/{node}", {"spec": {"taints": [taint]}})
    await api.post(PODS, make_pod("a"))
    assert "2 node(s) had untolerated taint {gpu: broken}" in await refusal(api, "a")
    wanted = make_pod("b")
    wanted["spec"]["tolerations"] = [{"key": "gpu", "operator": "Equal", "value": "broken"}]
    await api.post(PODS, wanted)
    assert await placed(api, "b")
    await api.patch("/api/v1/nodes/node-b", {"spec": {"taints": None}})
    assert await placed(api, "a") == "node-b"


async def test_a_cordoned_node_gets_nothing_new(api, kubelet, make_pod):
    await api.patch("/api/v1/nodes/node-a", {"spec": {"unschedulable": True}})

    async def tainted():
        return (await api.get("/api/v1/nodes/node-a"))["spec"].get("taints")

    assert (await api.until(tainted))[0]["key"] == "node.kubernetes.io/unschedulable"
    for name in ("a", "b", "c"):
        await api.post(PODS, make_pod(name))
        assert await placed(api, name) == "node-b"
    wanted = make_pod("d")
    wanted["spec"]["nodeSelector"] = {"zone": "a"}
    await api.post(PODS, wanted)
    assert "1 node(s) were unschedulable" in await refusal(api, "d")


async def test_anti_affinity_keeps_replicas_apart(api, kubelet, make_pod):
    for name in ("a", "b", "c"):
        wanted = make_pod(name, app="llm")
        wanted["spec"]["affinity"] = {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [
                    {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "llm"}}}
                ]
            }
        }
        await api.post(PODS, wanted)
    assert {await placed(api, "a"), await placed(api, "b")} == {"node-a", "node-b"}
    assert "2 node(s) didn't satisfy existing pods anti-affinity rules" in await refusal(api, "c")


async def test_topology_spread_balances_zones(api, kubelet, make_pod):
    for number in range(4):
        wanted = make_pod(f"p{number}", app="llm")
        wanted["spec"]["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "llm"}},
            }
        ]
        await api.post(PODS, wanted)
    nodes = [await placed(api, f"p{number}") for number in range(4)]
    assert sorted(nodes) == ["node-a", "node-a", "node-b", "node-b"]


async def test_a_binding_by_hand_is_honoured_once(api, make_pod):
    await api.post(PODS, make_pod("a"))
    await api.post(f"{PODS}/a/binding", {"target": {"kind": "Node", "name": "n"}})
    with pytest.raises(AssertionError) as refused:
        await api.post(f"{PODS}/a/binding", {"target": {"kind": "Node", "name": "m"}})
    assert refused.value.code == 409


def lease(name):
    return {"metadata": {"name": name}, "spec": {"holderIdentity": name, "renewTime": "2026-01-01T00:00:00.000000Z"}}


class TestNodeLoss:
    @pytest.fixture
    def settings(self):
        return Settings(node_monitor_grace_period=0.6, default_toleration_seconds=1, pod_gc_quarantine=0.1)

    async def keep_alive(self, api, node):
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        if not await api.exists(f"{path}/{node}"):
            await api.post(path, lease(node))
        found = await api.get(f"{path}/{node}")
        found["spec"]["leaseTransitions"] = found["spec"].get("leaseTransitions", 0) + 1
        await api.put(f"{path}/{node}", found)

    async def test_a_silent_node_is_not_ready_tainted_and_its_pods_are_evicted(self, api, kubelet, make_pod):
        wanted = make_pod("a")
        wanted["spec"]["nodeSelector"] = {"zone": "a"}
        await api.post(PODS, wanted)
        assert await placed(api, "a") == "node-a"

        async def lost():
            await self.keep_alive(api, "node-b")
            node = await api.get("/api/v1/nodes/node-a")
            keys = {(row["key"], row["effect"]) for row in node["spec"].get("taints", [])}
            row = next(row for row in node["status"]["conditions"] if row["type"] == "Ready")
            return len(keys) == 2 and (row, keys)

        row, keys = await api.until(lost)
        assert (row["status"], row["reason"]) == ("Unknown", "NodeStatusUnknown")
        assert row["message"] == "Kubelet stopped posting node status."
        assert keys == {("node.kubernetes.io/unreachable", effect) for effect in ("NoSchedule", "NoExecute")}
        ready = [row for row in (await api.get(f"{PODS}/a"))["status"]["conditions"] if row["type"] == "Ready"]
        assert ready[0]["status"] == "False"

        async def evicted():
            await self.keep_alive(api, "node-b")
            return not await api.exists(f"{PODS}/a")

        await api.until(evicted)
        reasons = {row["reason"] for row in await api.items("/api/v1/namespaces/default/events")}
        assert {"TaintManagerEviction", "NodeNotReady"} <= reasons

    async def test_a_node_that_comes_back_loses_its_taints(self, api, kubelet):
        async def is_lost():
            await self.keep_alive(api, "node-b")
            return (await api.get("/api/v1/nodes/node-a"))["spec"].get("taints")

        await api.until(is_lost)
        await api.patch(
            "/api/v1/nodes/node-a/status",
            {
                "status": {
                    "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:01Z"}]
                }
            },
            "application/strategic-merge-patch+json",
        )

        async def is_back():
            await self.keep_alive(api, "node-b")
            await self.keep_alive(api, "node-a")
            return not (await api.get("/api/v1/nodes/node-a"))["spec"].get("taints")

        await api.until(is_back)

    async def test_with_every_node_silent_nothing_is_evicted(self, api, kubelet):
        async def both_lost():
            nodes = await api.items("/api/v1/nodes")
            return all(row["spec"].get("taints") for row in nodes) and nodes

        nodes = await api.until(both_lost)
        assert nodes[-1]["spec"]["taints"][0]["effect"] == "NoSchedule"

        async def none_executes():
            rows = await api.items("/api/v1/nodes")
            return {taint["effect"] for row in rows for taint in row["spec"]["taints"]} == {"NoSchedule"}

        await api.until(none_executes)

    async def test_pods_of_a_deleted_node_are_collected(self, api, kubelet, make_pod):
        kubelet.confirms = False
        await api.post(PODS, make_pod("a"))
        node = await placed(api, "a")
        await api.delete(f"/api/v1/nodes/{node}")

        async def gone():
            return not await api.exists(f"{PODS}/a")

        await api.until(gone)
