"""The other drivers of link faults: ephemeral containers, and Chaos Mesh where its kind is served."""

from __future__ import annotations

import json
from typing import Any

import pytest
from link_bench import Recorded, left, planned, undone

from drillbook.errors import UnsupportedError
from drillbook.faults import link_chaos
from drillbook.faults.registry import FAULTS
from drillbook.helper.shaping import Setting
from drillbook.model.undo import EntryState
from drillbook.targets import containers
from drillbook.targets.target import Target

pytestmark = pytest.mark.root

CRD = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "networkchaos.chaos-mesh.org"},
    "spec": {
        "group": "chaos-mesh.org",
        "scope": "Namespaced",
        "names": {"kind": "NetworkChaos", "plural": "networkchaos", "singular": "networkchaos"},
        "versions": [{
            "name": "v1alpha1", "served": True, "storage": True, "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        }],
    },
}  # fmt: skip


async def test_an_ephemeral_container_holds_a_link_and_is_ended(target: Target) -> None:
    plan, record = await planned("link-throttle", target, rate="1mbit", direction="to", driver="ephemeral"), Recorded()
    assert "1 ephemeral container with NET_ADMIN" in plan.summary
    (spec,) = plan.options["objects"]  # type: ignore[misc, has-type]
    assert spec["securityContext"]["capabilities"]["add"] == ["NET_ADMIN", "NET_RAW"]
    injected = await FAULTS["link-throttle"].inject(plan, target, record)
    try:
        bite = await FAULTS["link-throttle"].verify(plan, injected, target, 30)
        assert bite.bit, bite.detail
        assert (await left(target))["qdiscs"]
    finally:
        states = await undone(target, record)
    assert states == [EntryState.UNDONE]
    assert not any((await left(target)).values())
    assert "terminated" in await containers.state(target.kube, plan.targets[0], spec["name"])


@pytest.mark.parametrize(
    ("setting", "part"),
    [
        (
            Setting("throttle", rate=10e6),
            {"action": "bandwidth", "bandwidth": {"rate": "1250000bps", "limit": 500_000, "buffer": 12_500}},
        ),
        (Setting("cut"), {"action": "partition"}),
        (Setting("loss", share=0.05), {"action": "loss", "loss": {"loss": "5", "correlation": "0"}}),
        (
            Setting("delay", delay=0.05, jitter=0.01),
            {"action": "delay", "delay": {"latency": "50ms", "jitter": "10ms", "correlation": "0"}},
        ),
    ],
)
def test_chaos_mesh_is_told_in_its_own_units(setting: Setting, part: dict[str, Any]) -> None:
    assert link_chaos.action(setting) == part


async def test_chaos_mesh_does_it_where_its_kind_is_served(target: Target) -> None:
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    await target.kube.create(definitions, CRD)
    try:
        with pytest.raises(UnsupportedError, match="does not measure the link"):
            await planned("link-cut", target, driver="chaos-mesh")
        with pytest.raises(UnsupportedError, match="one setting"):
            await planned("link-flap", target, driver="chaos-mesh")
        plan = await planned("link-cut", target, driver="chaos-mesh", bites="goodput < 50%", **{"for": "20s"})
        assert "Chaos Mesh, which matches whole pods" in plan.summary
        spec = json.loads(plan.calls[0].body)["spec"]
        assert spec["duration"] == "50s"
        assert spec["selector"] == spec["target"]["selector"] == {"pods": {"llm": ["vllm-0", "vllm-0-1"]}}
        record = Recorded()
        injected = await FAULTS["link-cut"].inject(plan, target, record)
        bite = await FAULTS["link-cut"].verify(plan, injected, target, 0.3)
        assert not bite.bit  # nobody has injected anything: there is no Chaos Mesh behind the kind
        assert await undone(target, record) == [EntryState.UNDONE]
        assert await target.kube.list("/apis/chaos-mesh.org/v1alpha1/namespaces/llm/networkchaos") == []
    finally:
        await target.kube.delete(f"{definitions}/networkchaos.chaos-mesh.org")
