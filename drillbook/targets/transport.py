"""Over what do the ranks of one engine talk? Read off their logs, their environment and their resources.

Only TCP goes through the kernel's queues, where ``tc``, ``nft`` and network policies act. What NCCL chose stands in its
log at ``NCCL_DEBUG=INFO``: a line for each channel (``… via NET/Socket/0``) and one for the network (``Using network
IB``). Gloo, which CPU engines use, knows TCP only: https://github.com/pytorch/gloo (``transport/tcp``).
"""

from __future__ import annotations

import asyncio
import enum
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drillbook.errors import DrillbookError
from drillbook.targets.target import Target


class Kind(enum.StrEnum):
    """What carries the bytes between two ranks."""

    GLOO = "Gloo over TCP"
    SOCKET = "NCCL NET/Socket"
    IB = "NCCL NET/IB"
    PLUGIN = "an NCCL network plugin"
    P2P = "NCCL P2P"
    SHM = "NCCL SHM"
    UNKNOWN = "unknown"


REACHED = frozenset({Kind.GLOO, Kind.SOCKET})
"""What a rule in the pod's network reaches."""

REMEDIES = {
    Kind.IB: (
        "verbs bypass the kernel. What reaches them: `mlnx_qos --ratelimit` on the host (per port, traffic class), a "
        "lower port rate or a rate limit at the switch; or fall back to TCP at a restart: NCCL_IB_DISABLE=1"
    ),
    Kind.PLUGIN: (
        "it bypasses the kernel, or may (EFA, GPUDirect-TCPX). What reaches it: the provider's own limits; or fall "
        "back to TCP at a restart: NCCL_NET=Socket"
    ),
    Kind.P2P: (
        "NVLink, NVSwitch and PCIe are no network. What slows them: a power or clock cap (nvidia-smi -pl, -lgc); "
        "NCCL_P2P_DISABLE=1 and --disable-custom-all-reduce at a restart make it another configuration, not a throttle"
    ),
    Kind.SHM: (
        "shared memory is no network. NCCL_SHM_DISABLE=1 at a restart makes it TCP: another configuration, no throttle"
    ),
    Kind.UNKNOWN: (
        "start the ranks with NCCL_DEBUG=INFO, then their log tells; or give the step a proof of the effect on the "
        "engine: `bites: itl.p50 > 100ms`"
    ),
}
"""What would reach the others."""


@dataclass(frozen=True)
class Transport:
    """What was found, and what tells it. ``interface`` is the one that the ranks are told to use, where they are."""

    kind: Kind
    evidence: str
    interface: str = ""

    @property
    def reached(self) -> bool:
        return self.kind in REACHED

    @property
    def remedy(self) -> str:
        return REMEDIES.get(self.kind, "")


_CHANNEL = re.compile(r"NCCL INFO (?:Channel|Ring) \S+ : \d+\S* ?-> ?\d+\S*[^\r\n]*? via (?P<via>\S+)")
_NETWORK = re.compile(r"NCCL INFO Using network (?P<name>[^\r\n]+)")
_GLOO = re.compile(r"\bbackend=gloo\b|\bProcessGroupGloo\b")
_KINDS = (("NET/Socket", Kind.SOCKET), ("NET/IB", Kind.IB), ("NET/", Kind.PLUGIN), ("P2P", Kind.P2P), ("SHM", Kind.SHM))
_RDMA = re.compile(r"(^|[/.-])(rdma|hca|ib|roce|efa|infiniband)", re.IGNORECASE)


def of_log(log: str) -> Transport | None:
    """What a rank's log tells of the links between pods; None where it tells nothing."""
    seen: dict[Kind, str] = {}
    for found in _CHANNEL.finditer(log):
        seen.setdefault(_kind(found["via"]), found[0])
    # Ranks of one pod have P2P or SHM among themselves and a network to the others: the network is what is asked for.
    # Where channels use several, the one that cannot be reached decides.
    for kind in (Kind.IB, Kind.PLUGIN, Kind.SOCKET, Kind.P2P, Kind.SHM):
        if kind in seen:
            return Transport(kind, seen[kind].strip()[:160])
    if networks := list(_NETWORK.finditer(log)):
        return Transport(_kind(f"NET/{networks[-1]['name'].strip()}"), networks[-1][0])
    gloo = _GLOO.search(log)
    return Transport(Kind.GLOO, gloo[0]) if gloo and "NCCL INFO" not in log else None


def of_pod(pod: Mapping[str, Any]) -> Transport | None:
    """What a pod's environment and resources tell; None where they tell nothing."""
    environment, resources = _environment(pod), _resources(pod)
    interface = environment.get("NCCL_SOCKET_IFNAME") or environment.get("GLOO_SOCKET_IFNAME", "")
    forced = environment.get("NCCL_NET", "").lower()
    gpus = any(name.endswith("/gpu") for name in resources)
    if environment.get("NCCL_IB_DISABLE") == "1" and forced in ("", "socket"):
        return Transport(Kind.SOCKET, "NCCL_IB_DISABLE=1", interface)
    if forced:
        return Transport(_kind(f"NET/{environment['NCCL_NET']}"), f"NCCL_NET={environment['NCCL_NET']}", interface)
    rdma = next((name for name in resources if _RDMA.search(name)), "")
    if rdma:
        return Transport(Kind.IB, f"the pod asks for {rdma}", interface)
    if "GLOO_SOCKET_IFNAME" in environment and not gpus:
        return Transport(Kind.GLOO, f"GLOO_SOCKET_IFNAME={environment['GLOO_SOCKET_IFNAME']} and no GPU", interface)
    return None


def judge(pods: Sequence[Mapping[str, Any]], logs: Sequence[str]) -> Transport:
    """What all of it tells together: a log before what was merely asked for."""
    told = [found for found in (of_log(log) for log in logs) if found is not None]
    asked = [found for found in map(of_pod, pods) if found is not None]
    for found in (*sorted(told, key=lambda one: one.reached), *sorted(asked, key=lambda one: one.reached)):
        interface = found.interface or next((one.interface for one in asked if one.interface), "")
        return Transport(found.kind, found.evidence, interface)
    return Transport(Kind.UNKNOWN, "no NCCL_DEBUG lines in the logs, and nothing in the environment or the resources")


async def find(target: Target, pods: Sequence[dict[str, Any]], role: str) -> Transport:
    """What the ranks in these pods talk over. Logs that may not be read tell nothing."""
    logs = await asyncio.gather(*(_log(target, pod, role) for pod in pods))
    return judge(pods, logs)


async def _log(target: Target, pod: dict[str, Any], role: str) -> str:
    try:
        return await target.kube.logs(
            pod["metadata"]["namespace"], pod["metadata"]["name"], target.container(pod, role)
        )
    except DrillbookError:
        return ""


def _kind(via: str) -> Kind:
    return next((kind for beginning, kind in _KINDS if via.startswith(beginning)), Kind.UNKNOWN)


def _environment(pod: Mapping[str, Any]) -> dict[str, str]:
    return {
        row["name"]: str(row["value"])
        for container in pod["spec"].get("containers", [])
        for row in container.get("env") or []
        if "value" in row
    }


def _resources(pod: Mapping[str, Any]) -> list[str]:
    return [
        name
        for container in pod["spec"].get("containers", [])
        for part in ("limits", "requests")
        for name in (container.get("resources") or {}).get(part) or {}
    ]
