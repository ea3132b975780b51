"""Choosing a sandbox's /20: free on this machine, and outside what a real cluster on it may use."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable
from pathlib import Path

from drillbook.errors import PreflightError

BRIDGED = ipaddress.IPv4Network("10.208.0.0/12")
"""Far from 10.244.0.0/16 and 10.96.0.0/12, kubeadm's usual ranges for pods and Services."""
LOOPBACK = ipaddress.IPv4Network("127.208.0.0/12")
"""Without root each pod has an address of its own here; the kernel answers for all of 127.0.0.0/8."""


def routed() -> list[ipaddress.IPv4Network]:
    """Every destination in this machine's main routing table but the default."""
    try:
        rows = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return []
    networks = []
    for row in rows:
        fields = row.split()
        address, mask = (socket.inet_ntoa(struct.pack("<I", int(text, 16))) for text in (fields[1], fields[7]))
        if mask != "0.0.0.0":  # noqa: S104 -- the default route's mask, not an address to bind
            networks.append(ipaddress.IPv4Network(f"{address}/{mask}", strict=False))
    return networks


def choose(seed: str, taken: Iterable[str], *, bridged: bool) -> str:
    """A free /20, the same for the same ``seed`` while that is possible; ``taken`` are those of other sandboxes.

    :raises PreflightError: none of the 256 is free.
    """
    blocks = list((BRIDGED if bridged else LOOPBACK).subnets(new_prefix=20))
    others = [*(ipaddress.IPv4Network(one) for one in taken), *(routed() if bridged else ())]
    start = int(seed, 16) % len(blocks)
    for block in blocks[start:] + blocks[:start]:
        if not any(block.overlaps(other) for other in others):
            return str(block)
    raise PreflightError(f"no free /20 in {BRIDGED} for the sandbox", "stop a sandbox: drillbook sandbox down --name …")
