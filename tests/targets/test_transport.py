"""Over what the ranks talk, read off recorded logs, environments and resources."""

from __future__ import annotations

from pathlib import Path

import pytest

from drillbook.targets import transport
from drillbook.targets.transport import Kind

RECORDED = Path(__file__).parent / "recorded"


def read(name: str) -> str:
    return (RECORDED / f"{name}.log").read_text(encoding="utf-8")


def pod(env: dict[str, str] | None = None, **resources: str) -> dict:
    rows = [{"name": name, "value": value} for name, value in (env or {}).items()]
    limits = {name.replace("__", "/").replace("_com", ".com"): value for name, value in resources.items()}
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"env": rows, "resources": {"limits": limits}}]}}


@pytest.mark.parametrize(
    ("name", "kind", "evidence"),
    [
        ("nccl-socket", Kind.SOCKET, "via NET/Socket/0"),
        ("nccl-ib", Kind.IB, "via NET/IB/0/GDRDMA"),
        ("nccl-roce", Kind.IB, "via NET/IB/0"),
        ("nccl-efa", Kind.PLUGIN, "via NET/Libfabric/0/GDRDMA"),
        ("nccl-p2p", Kind.P2P, "via P2P/CUMEM"),
        ("nccl-shm", Kind.SHM, "via SHM/direct/direct"),
        ("gloo", Kind.GLOO, "backend=gloo"),
    ],
)
def test_each_transport_is_told_by_its_own_log(name: str, kind: Kind, evidence: str) -> None:
    found = transport.of_log(read(name))
    assert found is not None
    assert found.kind is kind
    assert evidence in found.evidence


def test_a_log_without_nccls_words_tells_nothing() -> None:
    assert transport.of_log(read("silent")) is None
    found = transport.judge([pod()], [read("silent")])
    assert found.kind is Kind.UNKNOWN
    assert "NCCL_DEBUG=INFO" in found.remedy


def test_peers_within_a_pod_do_not_hide_the_network_to_the_others() -> None:
    """Eight ranks of one pod talk over NVLink; the link to the other pod is what is asked for."""
    assert "P2P/CUMEM" in read("nccl-ib")
    assert transport.judge([], [read("nccl-ib")]).kind is Kind.IB


def test_only_tcp_is_reached_and_all_else_says_what_would_reach_it() -> None:
    assert {kind for kind in Kind if transport.Transport(kind, "").reached} == {Kind.GLOO, Kind.SOCKET}
    remedies = {kind: transport.Transport(kind, "").remedy for kind in Kind}
    assert all(remedies[kind] for kind in Kind if kind not in transport.REACHED)
    for word in ("mlnx_qos", "switch", "NCCL_IB_DISABLE=1"):
        assert word in remedies[Kind.IB]
    assert "NCCL_P2P_DISABLE=1" in remedies[Kind.P2P]


@pytest.mark.parametrize(
    ("env", "resources", "kind"),
    [
        ({"NCCL_IB_DISABLE": "1"}, {"rdma__hca": "1"}, Kind.SOCKET),
        ({"NCCL_NET": "IB"}, {}, Kind.IB),
        ({"NCCL_NET": "AWS Libfabric"}, {}, Kind.PLUGIN),
        ({}, {"rdma__rdma_shared_device_a": "1"}, Kind.IB),
        ({"GLOO_SOCKET_IFNAME": "eth0"}, {}, Kind.GLOO),
        ({"GLOO_SOCKET_IFNAME": "eth0"}, {"nvidia_com__gpu": "1"}, None),
        ({}, {}, None),
    ],
)
def test_without_a_log_the_environment_and_the_resources_are_asked(env, resources, kind) -> None:
    found = transport.of_pod(pod(env, **resources))
    assert (found.kind if found else None) is kind


def test_what_nccl_says_it_chose_stands_above_what_it_was_asked_for() -> None:
    """The pod asks for an HCA, and NCCL fell back to sockets all the same."""
    found = transport.judge([pod({"NCCL_SOCKET_IFNAME": "net1"}, rdma__hca="1")], [read("nccl-socket")])
    assert (found.kind, found.interface) == (Kind.SOCKET, "net1")


def test_one_rank_on_rdma_is_enough_to_be_out_of_reach() -> None:
    assert transport.judge([], [read("nccl-socket"), read("nccl-ib")]).kind is Kind.IB
