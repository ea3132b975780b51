"""What is done to a link, as data, and the ``tc`` and ``nft`` commands that do it. Pure: nothing is run here.

A rule matches a peer's address and leaves the declared HTTP ports, and all that is not to that peer, alone: ranks
talk over ephemeral ports, so they cannot be matched by theirs. Two means:

- What leaves is shaped: ``htb`` at the device's root, a class for each peer, ``u32`` filters that lead to it. Unmatched
  packets bypass the classes (``htb`` without a default class), as do those that a filter sends to ``<handle>:0``.
- What arrives is dropped: ``nft`` before routing, as if the network had lost it. Dropped where it leaves, the sender's
  TCP would be told, and would not back off as it does when a network loses its packets.

Rates are bits a second (``tc``'s ``bit``; its ``bps`` are bytes), times seconds, shares between 0 and 1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

HANDLE = "dbc:"
"""The handle of our qdisc, and the mark by which any helper finds it again."""
TABLE = "drillbook_link"
"""The name of our nftables table, likewise."""
KINDS = ("clear", "throttle", "cut", "loss", "delay")
LEAST_BURST = 4096
"""Bytes that may pass at once: two packets, and what one timer tick lets through at 1 Mbit/s."""
LEAST_QUEUE = 128 * 1024
"""Bytes that may wait: a segment that the kernel has not cut yet (GSO) is up to 64 KiB, and must find room."""
QUEUE_SECONDS = 0.4
FAST = 100_000_000_000
"""A rate that slows nothing, for classes that only delay."""

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """One state of a link: what is done to each packet to (shaped) or from (dropped) the peers."""

    kind: str
    rate: float = 0.0
    share: float = 0.0
    delay: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is nothing that is done to a link")
        if self.kind == "throttle" and self.rate < 8000:
            raise ValueError("a link of less than 8 kbit/s is cut: use that")
        if not 0 <= self.share <= 1 or self.delay < 0 or self.jitter < 0:
            raise ValueError("a share is between 0 and 1, and a delay is not negative")

    @classmethod
    def of(cls, told: dict[str, Any]) -> Setting:
        """As it comes in a program's arguments.

        :raises ValueError: it makes no sense.
        """
        return cls(**told)

    @property
    def shapes(self) -> bool:
        """Whether it is done to what leaves (``tc``); else to what arrives (``nft``)."""
        return self.kind in ("throttle", "delay")

    @property
    def drops(self) -> bool:
        return self.kind in ("cut", "loss")

    def __str__(self) -> str:
        match self.kind:
            case "throttle":
                return f"throttled to {show_rate(self.rate)}"
            case "loss":
                return f"{self.share:.3g} of the packets lost"
            case "delay":
                return f"delayed by {self.delay * 1000:g} ms" + (f" ± {self.jitter * 1000:g} ms" if self.jitter else "")
            case "cut":
                return "cut"
            case _:
                return "as it was"


def show_rate(rate: float) -> str:
    """``500 kbit/s``, ``10 Mbit/s``."""
    for unit, size in (("Gbit/s", 1e9), ("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if rate >= size:
            return f"{rate / size:.3g} {unit}"
    return f"{rate:.3g} bit/s"


def shape(device: str, peers: Sequence[str], spared: Sequence[int], setting: Setting) -> list[Argv]:
    """The commands that shape what leaves for each peer; each peer has its own link's rate."""
    tc = ("tc", "qdisc", "add", "dev", device)
    commands: list[Argv] = [(*tc, "root", "handle", HANDLE, "htb")]
    for number, peer in enumerate(peers, start=16):
        name = f"{HANDLE}{number:x}"
        commands += [
            _class("add", device, name, setting),
            (*tc, "parent", name, *_leaf(setting)),
            *(_filter(device, 1, peer, f"{HANDLE}0", port) for port in _ends(spared)),
            _filter(device, 2, peer, name),
        ]
    return commands


def reshape(device: str, peers: Sequence[str], setting: Setting) -> list[Argv]:
    """The commands that turn one rate into another, without a moment in between in which nothing is held back."""
    commands: list[Argv] = []
    for number, _ in enumerate(peers, start=16):
        name = f"{HANDLE}{number:x}"
        commands.append(_class("change", device, name, setting))
        commands.append(("tc", "qdisc", "change", "dev", device, "parent", name, *_leaf(setting)))
    return commands


def unshape(device: str) -> Argv:
    """The command that takes all of it away: classes, leaves and filters go with the root."""
    return ("tc", "qdisc", "del", "dev", device, "root", "handle", HANDLE)


def drop(peers: Sequence[str], spared: Sequence[int], setting: Setting) -> str:
    """The nftables script that drops what arrives from the peers; it replaces what an earlier one left."""
    chance = f"numgen random mod 100000 < {round(setting.share * 100_000)} " if setting.kind == "loss" else ""
    rows = [f"add table inet {TABLE}", f"delete table inet {TABLE}", f"add table inet {TABLE}"]
    rows.append(f"add chain inet {TABLE} arriving {{ type filter hook prerouting priority -300; }}")
    for peer in peers:
        source = f"{_family(peer)} saddr {peer}"
        for port in spared:
            rows.append(f"add rule inet {TABLE} arriving {source} tcp sport {port} accept")
            rows.append(f"add rule inet {TABLE} arriving {source} tcp dport {port} accept")
        rows.append(f"add rule inet {TABLE} arriving {source} {chance}drop")
    return "\n".join(rows) + "\n"


def undrop() -> str:
    """The nftables script that takes the table away, and does nothing where there is none."""
    return f"add table inet {TABLE}\ndelete table inet {TABLE}\n"


def _class(verb: str, device: str, name: str, setting: Setting) -> Argv:
    rate = setting.rate if setting.kind == "throttle" else FAST
    burst = max(LEAST_BURST, round(rate / 8 / 100))  # what passes in 10 ms: no timer is later than that
    return (
        "tc", "class", verb, "dev", device, "parent", HANDLE, "classid", name, "htb",
        "rate", f"{round(rate)}bit", "burst", f"{burst}b", "cburst", f"{burst}b", "quantum", "60000",
    )  # fmt: skip


def _leaf(setting: Setting) -> Argv:
    if setting.kind == "delay":
        jitter = (f"{setting.jitter * 1e6:.0f}us",) if setting.jitter else ()
        return ("netem", "limit", "10000", "delay", f"{setting.delay * 1e6:.0f}us", *jitter)
    return ("bfifo", "limit", str(max(LEAST_QUEUE, round(setting.rate / 8 * QUEUE_SECONDS))))


def _filter(device: str, priority: int, peer: str, flow: str, port: tuple[str, int] | None = None) -> Argv:
    version = ipaddress.ip_address(peer).version
    protocol, match = ("ip", "ip") if version == 4 else ("ipv6", "ip6")
    words = ["match", match, "dst", f"{peer}/{32 if version == 4 else 128}"]
    if port is not None:
        words += ["match", match, "protocol", "6", "0xff", "match", match, port[0], str(port[1]), "0xffff"]
    # Two protocols of one priority are refused: version 6 gets priorities of its own.
    place = priority if version == 4 else priority + 2
    return (
        "tc", "filter", "add", "dev", device, "parent", HANDLE, "protocol", protocol, "prio", str(place), "u32",
        *words, "flowid", flow,
    )  # fmt: skip


def _ends(ports: Sequence[int]) -> list[tuple[str, int]]:
    return [(end, port) for port in ports for end in ("sport", "dport")]


def _family(address: str) -> str:
    return "ip" if ipaddress.ip_address(address).version == 4 else "ip6"
