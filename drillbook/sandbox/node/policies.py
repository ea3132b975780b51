"""What NetworkPolicies allow, as an nftables ruleset for the sandbox's bridge.

As https://kubernetes.io/docs/concepts/services-networking/network-policies/ has it: a pod that a policy selects is
isolated in the policy's directions, and only what some policy allows passes; a connection needs the leave of both ends,
and its answers pass with it. Connections that exist are cut like new ones (network plugins differ in this).

What goes through the machine itself is never filtered, as on a cluster, where a pod's own node always reaches it: the
kubelet's probes, the API server, DNS, and connections to Services, whose proxy runs here. TCP and UDP over IPv4 only.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drillbook.sandbox.control import selectors

Json = dict[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class PodView:
    """What a policy can ask of a pod."""

    namespace: str
    labels: Labels
    address: str
    ports: Mapping[str, int]
    """Its named ports."""


@dataclass(frozen=True)
class Direction:
    """One of the two, and where its rules and peers stand."""

    name: str
    field: str
    peers: str
    set: str


INGRESS = Direction("Ingress", "ingress", "from", "in")
EGRESS = Direction("Egress", "egress", "to", "out")

_CHAINS = """\
  chain request {
    ip daddr @in_pods ip daddr . ip saddr != @in_any ip daddr . ip saddr . th dport != @in_port return
    ip saddr @out_pods ip saddr . ip daddr != @out_any ip saddr . ip daddr . th dport != @out_port return
    accept
  }
  chain answer {
    ip saddr @in_pods ip saddr . ip daddr != @in_any ip saddr . ip daddr . th sport != @in_port return
    ip daddr @out_pods ip daddr . ip saddr != @out_any ip daddr . ip saddr . th sport != @out_port return
    accept
  }
  chain forward {
    type filter hook forward priority 0; policy accept;
    ip protocol { tcp, udp } jump request
    ip protocol { tcp, udp } jump answer
    ip protocol { tcp, udp } drop
  }
"""
"""A packet passes as a client's, or as a server's answer to a client that may ask: nothing is remembered."""


def ruleset(bridge: str, policies: Sequence[Json], pods: Sequence[PodView], namespaces: Mapping[str, Labels]) -> str:
    """The table as ``nft -f`` reads it; it takes the place of the one before in one step."""
    table = f"table bridge {bridge}"
    lines = [f"{table} {{}}", f"delete {table}", f"{table} {{"]
    for direction in (INGRESS, EGRESS):
        isolated, anything, ports = _leave(direction, policies, pods, namespaces)
        lines += _set(f"{direction.set}_pods", "ipv4_addr", isolated)
        lines += _set(f"{direction.set}_any", "ipv4_addr . ipv4_addr", anything)
        lines += _set(f"{direction.set}_port", "ipv4_addr . ipv4_addr . inet_service", ports)
    return "\n".join([*lines, _CHAINS.rstrip(), "}", ""])


def _set(name: str, kind: str, elements: set[str]) -> list[str]:
    held = f" elements = {{ {', '.join(sorted(elements))} }}" if elements else ""
    return [f"  set {name} {{ type {kind};{held} }}"]


def _leave(
    direction: Direction, policies: Sequence[Json], pods: Sequence[PodView], namespaces: Mapping[str, Labels]
) -> tuple[set[str], set[str], set[str]]:
    """The isolated pods; each with peers that may use any port; each with peers and the port that they may use."""
    isolated: set[str] = set()
    anything: set[str] = set()
    ports: set[str] = set()
    for policy in policies:
        if direction.name not in _types(policy["spec"]):
            continue
        test = selectors.of_selector(policy["spec"].get("podSelector") or {})
        for pod in pods:
            if pod.namespace != policy["metadata"]["namespace"] or not test(pod.labels):
                continue
            isolated.add(pod.address)
            for rule in policy["spec"].get(direction.field) or []:
                for peer in _peers(rule.get(direction.peers), pod.namespace, pods, namespaces):
                    pair = f"{pod.address} . {peer.address}"
                    if not rule.get("ports"):
                        anything.add(pair)
                    server = pod if direction is INGRESS else peer
                    ports |= {f"{pair} . {port}" for row in rule.get("ports") or [] for port in _ports(row, server)}
                    if any(row.get("port") is None for row in rule.get("ports") or []):
                        anything.add(pair)
    return isolated, anything, ports


def _types(spec: Json) -> list[str]:
    """As the API server fills them in: always Ingress, and Egress where there are rules for it."""
    return spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _peers(
    rows: list[Json] | None, namespace: str, pods: Sequence[PodView], namespaces: Mapping[str, Labels]
) -> Iterator[PodView]:
    if not rows:
        yield from pods  # no rows: whoever it is
        return
    for row in rows:
        if block := row.get("ipBlock"):
            yield from (pod for pod in pods if _within(pod.address, block))
            continue
        in_pods = selectors.of_selector(row.get("podSelector") or {})
        chosen = row.get("namespaceSelector")
        in_space = selectors.of_selector(chosen)
        for pod in pods:
            here = pod.namespace == namespace if chosen is None else in_space(namespaces.get(pod.namespace, {}))
            if here and in_pods(pod.labels):
                yield pod


def _within(address: str, block: Json) -> bool:
    own = ipaddress.ip_address(address)
    spared = (ipaddress.ip_network(cidr, strict=False) for cidr in block.get("except") or [])
    return own in ipaddress.ip_network(block["cidr"], strict=False) and not any(own in cidr for cidr in spared)


def _ports(row: Json, server: PodView) -> range:
    port = row.get("port")
    if port is None:
        return range(0)
    first = server.ports.get(port, 0) if isinstance(port, str) else int(port)
    return range(first, int(row.get("endPort", first)) + 1)
