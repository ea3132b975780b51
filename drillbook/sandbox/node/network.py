"""Pod networks: a bridge a sandbox, a veth pair a pod, addresses from the sandbox's own subnet; all through netlink.

Only descriptors hold a pod's network namespace, and a veth dies with it: of a sandbox that was killed with ``kill -9``
nothing but the bridge is left, and its name tells whose it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from drillbook.errors import DrillbookError
from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.node import namespaces as ns

_FIRST_POD = 256
"""Pods get addresses behind the subnet's first /24, which holds the gateway and the nodes, and before the Services'."""


class NoAddressError(DrillbookError):
    """Every pod address of the sandbox is taken."""


class PodNetwork:
    """Addresses and links. Netlink calls, and the hops between namespaces, happen in one thread made for them."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._taken: dict[str, str] = {}
        self._next = _FIRST_POD
        self._thread = ThreadPoolExecutor(1, "network")
        self._links: _Links | None = None

    async def open(self) -> None:
        """Make the bridge if it is not there."""
        if self._config.bridged:
            self._links = await asyncio.get_running_loop().run_in_executor(self._thread, _Links, self._config)

    async def close(self) -> None:
        if self._links is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._links.close)
        self._thread.shutdown(wait=False)

    def keep(self, pod: str, address: str) -> None:
        """A running pod has this address already."""
        self._taken[pod] = address
        index = int(ipaddress.IPv4Address(address)) - int(self._config.subnet.network_address)
        self._next = max(self._next, index + 1)

    def allocate(self, pod: str) -> str:
        """An address for the pod, the longest unused first.

        :raises NoAddressError: none is left.
        """
        if pod in self._taken:
            return self._taken[pod]
        subnet, used = self._config.subnet, set(self._taken.values())
        span = 15 * 256 - _FIRST_POD
        for step in range(span):
            index = _FIRST_POD + (self._next - _FIRST_POD + step) % span
            address = str(subnet[index])
            if address not in used:
                self._next = index + 1
                self._taken[pod] = address
                return address
        raise NoAddressError(f"no free pod address in {subnet}")

    async def attach(self, pod: str, namespace: str) -> str:
        """Give the pod behind ``namespace`` (a path) its address and links, unless it has them. Returns the address.

        :raises OSError: netlink refused.
        """
        address = self.allocate(pod)
        if self._links is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._links.attach, pod, namespace, address)
        return address

    async def detach(self, pod: str) -> None:
        """Take the pod's link away, as a CNI plugin does when its containers have ended.

        Who still sends to its address meets silence, then "no route to host". The namespace alone would not do: it
        lives on while a socket in it waits for an answer.
        """
        if self._links is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._links.detach, pod)

    def release(self, pod: str) -> None:
        self._taken.pop(pod, None)


class _Links:
    """The netlink side; every call belongs to the same thread."""

    def __init__(self, config: SandboxConfig) -> None:
        from pyroute2 import IPRoute

        self._open = IPRoute
        self._config = config
        self._host = IPRoute()
        self._own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._bridge = self._make_bridge()

    def close(self) -> None:
        self._host.close()
        os.close(self._own)

    def _make_bridge(self) -> int:
        config = self._config
        found = self._host.link_lookup(ifname=config.bridge)
        if not found:
            self._host.link("add", ifname=config.bridge, kind="bridge", group=_group(config.bridge))
            found = self._host.link_lookup(ifname=config.bridge)
            addresses = [config.gateway, *(config.node_address(index) for index in range(len(config.nodes)))]
            for address in addresses:
                self._host.addr("add", index=found[0], address=address, prefixlen=config.subnet.prefixlen)
            self._host.link("set", index=found[0], state="up")
            # The whole Service range is local to this machine, so that the proxy can bind any of it and pods find it.
            self._host.route("add", dst=config.service_cidr, oif=found[0], table=255, type="local", scope="host")
        return int(found[0])

    def attach(self, pod: str, namespace: str, address: str) -> None:
        target = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
        try:
            with self._inside(target) as inside:
                if inside.link_lookup(ifname="eth0"):
                    return
                for stale in self._host.link_lookup(ifname=_host_end(pod)):
                    self._host.link("del", index=stale)  # its other end's namespace is gone, or about to be
                self._host.link(
                    "add", ifname=_host_end(pod), kind="veth", master=self._bridge, state="up",
                    group=_group(self._config.bridge),
                    peer={"ifname": "eth0", "net_ns_fd": namespace, "address": _hardware_address(address)},
                )  # fmt: skip
                eth0 = inside.link_lookup(ifname="eth0")[0]
                inside.link("set", index=1, state="up")
                inside.link("set", index=eth0, state="up")
                inside.addr("add", index=eth0, address=address, prefixlen=self._config.subnet.prefixlen)
                inside.route("add", gateway=self._config.gateway)
        except self._refusals() as error:
            raise OSError(f"cannot set up the network for {address}: {error}") from None
        finally:
            os.close(target)

    def detach(self, pod: str) -> None:
        with contextlib.suppress(self._refusals()):  # it went with its namespace just now
            for index in self._host.link_lookup(ifname=_host_end(pod)):
                self._host.link("del", index=index)

    def _inside(self, target: int) -> Any:
        """A netlink socket of another namespace: it stays there when this thread returns."""
        ns.setns(target, ns.NEW_NETWORK)
        try:
            return self._open()
        finally:
            ns.setns(self._own, ns.NEW_NETWORK)

    @staticmethod
    def _refusals() -> type[Exception]:
        from pyroute2 import NetlinkError

        return NetlinkError  # type: ignore[no-any-return]  # pyroute2 has no types


def _host_end(pod: str) -> str:
    """The name of a pod's veth on the machine; interface names have at most 15 characters."""
    return f"dbv{pod.replace('-', '')[:12]}"


def _hardware_address(address: str) -> str:
    """A MAC address made from the pod's own: an ARP cache that remembers an earlier pod is right about the next."""
    return "0a:58:" + ":".join(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)


def _group(bridge: str) -> int:
    """The interface group of a sandbox's bridge and veths, by which they are removed in one call."""
    return int(bridge[-7:], 16)


def remove_bridge(name: str) -> bool:
    """Remove a bridge and the veths on it. False where the kernel refused.

    Veths would go with their namespaces, but a namespace lives on while a socket in it still waits for an answer.
    """
    from pyroute2 import IPRoute, NetlinkError

    if shutil.which("nft") is not None:  # the table of the network policies, which outlives the agent
        subprocess.run(["nft", "delete", "table", "bridge", name], capture_output=True, check=False)
    with IPRoute() as netlink:
        with contextlib.suppress(NetlinkError):
            netlink.link("del", group=_group(name))
        with contextlib.suppress(NetlinkError):
            for index in netlink.link_lookup(ifname=name):
                netlink.link("del", index=index)
    return not Path("/sys/class/net", name).exists()
