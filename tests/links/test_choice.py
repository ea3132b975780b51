"""Which links are hit, and who holds the rule: of groups of any size, without a target."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from drillbook.errors import PreflightError, UnsupportedError
from drillbook.faults import link_group, link_helper
from drillbook.faults.fault import Draw
from drillbook.faults.link_cut import LinkCutStep
from drillbook.faults.link_group import Links
from drillbook.model.experiment import HelperSpec
from drillbook.targets.stack import stack_named


def pod(group: int, rank: int, **spec: Any) -> dict[str, Any]:
    labels = {"name": "vllm", "group-index": str(group), "worker-index": str(rank)}
    name = f"vllm-{group}" + (f"-{rank}" if rank else "")
    container = {
        "name": "vllm",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "zmq", "containerPort": 5555}],
        "readinessProbe": {"tcpSocket": {"port": "http"}},
        "livenessProbe": {"httpGet": {"port": 9000}},
    }
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "namespace": "llm",
            "labels": {f"leaderworkerset.sigs.k8s.io/{key}": value for key, value in labels.items()},
        },
        "spec": {"nodeName": f"node-{rank}", "containers": [container], **spec},
        "status": {"phase": "Running", "podIP": f"10.0.{group}.{rank + 1}"},
    }


def target(*pods: dict[str, Any]) -> Any:
    async def of(role: str) -> list[dict[str, Any]]:
        return list(pods)

    spec = SimpleNamespace(helper=HelperSpec())
    return SimpleNamespace(pods=of, stack=stack_named("leaderworkerset"), spec=spec, namespace="llm")


async def chosen(*pods: dict[str, Any], **options: Any) -> Links:
    step = LinkCutStep.model_validate({"fault": "link-cut", **options})
    return await link_group.choose(step, 0, target(*pods), Draw(1))


GROUPS = [pod(group, rank) for group in range(2) for rank in range(3)]


async def test_all_pairs_of_one_group_are_hit_and_no_other_group() -> None:
    links = await chosen(*GROUPS, group=1)
    assert [each["metadata"]["name"] for each in links.pods] == ["vllm-1", "vllm-1-1", "vllm-1-2"]
    assert len(links.edges) == 6
    assert str(links) == "between vllm-1, vllm-1-1 and vllm-1-2"


async def test_the_seed_chooses_the_group_and_always_the_same() -> None:
    names = {(await chosen(*GROUPS)).pods[0]["metadata"]["name"] for _ in range(5)}
    assert len(names) == 1


@pytest.mark.parametrize(
    ("direction", "sending", "receiving"),
    [("to", {0: (1, 2)}, {1: (0,), 2: (0,)}), ("from", {1: (0,), 2: (0,)}, {0: (1, 2)})],
)
async def test_a_direction_is_seen_from_the_first_rank(direction, sending, receiving) -> None:
    links = await chosen(*GROUPS, group=0, direction=direction)
    for way, expected in ((True, sending), (False, receiving)):
        assert {place: peers for place in range(3) if (peers := links.peers(place, sending=way))} == expected


async def test_a_pair_of_ranks_leaves_the_third_alone() -> None:
    links = await chosen(*GROUPS, group=0, ranks=[0, 2])
    assert [each["metadata"]["name"] for each in links.pods] == ["vllm-0", "vllm-0-2"]


async def test_ports_of_http_and_of_probes_are_spared_and_no_others() -> None:
    assert (await chosen(*GROUPS, group=0)).spared == (8080, 9000)
    assert (await chosen(*GROUPS, group=0, **{"spared-ports": [1234]})).spared == (1234, 8080, 9000)


async def test_each_link_is_measured_from_one_of_its_ends() -> None:
    links = await chosen(*GROUPS, group=0)
    held = link_helper.manifests(target(), "r", links, [(0.0, {"kind": "cut"})], 60.0)
    assert [each["metadata"]["name"] for each, _ in held] == ["vllm-0", "vllm-0-1", "vllm-0-2"]
    measured = [link_helper.json.loads(made["spec"]["containers"][0]["args"][-1])["measure"] for _, made in held]
    assert measured == [["10.0.0.2", "10.0.0.3"], ["10.0.0.3"], []]
    assert len({made["metadata"]["name"] for _, made in held}) == 3
    assert [made["spec"]["nodeName"] for _, made in held] == ["node-0", "node-1", "node-2"]


async def test_pods_on_their_nodes_network_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="hostNetwork"):
        await chosen(pod(0, 0, hostNetwork=True), pod(0, 1, hostNetwork=True))


async def test_an_engine_of_one_pod_has_no_link() -> None:
    with pytest.raises(UnsupportedError, match="all ranks of vllm-0 are in one pod"):
        await chosen(pod(0, 0), pod(1, 0))


async def test_a_group_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(PreflightError, match="no group 7") as caught:
        await chosen(*GROUPS, group=7)
    assert "0, 1" in caught.value.hint
