"""Node objects: what the agent registers, and the lease by which the control plane knows that it lives."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Callable

from drillbook import __version__, clock
from drillbook.sandbox.config import NodeConfig, SandboxConfig
from drillbook.sandbox.control import times
from drillbook.sandbox.node import lease
from drillbook.sandbox.node.api import Api, ApiError, Json
from drillbook.sandbox.node.recorder import Recorder

SILENT = "drillbook.io/kubelet"
"""An annotation of a Node: with the value ``stopped`` its kubelet falls silent, for drills."""


class Machine:
    """One Node."""

    def __init__(self, config: SandboxConfig, index: int, port: int, api: Api, recorder: Recorder) -> None:
        self._config = config
        self._node: NodeConfig = config.nodes[index]
        self._api = api
        self._recorder = recorder
        self._port = port
        self.name = self._node.name
        self.address = config.node_address(index)
        self.listed = asyncio.Event()
        """Set when the pods of this node are known."""
        self.speaking = asyncio.Event()
        """Cleared while the kubelet is told to be silent: nothing is reported, and no pod is taken on."""
        self.speaking.set()
        self.on_speak: Callable[[], None] = lambda: None
        """Called when it may speak again."""
        self.allocatable: Json = {
            "cpu": self._node.cpu, "memory": self._node.memory, "pods": str(self._node.pods),
            "ephemeral-storage": "100Gi", **({"nvidia.com/gpu": str(self._node.gpus)} if self._node.gpus else {}),
        }  # fmt: skip

    def _object(self) -> Json:
        node = self._node
        labels = {
            "kubernetes.io/hostname": node.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": _architecture(),
            "beta.kubernetes.io/os": "linux", "beta.kubernetes.io/arch": _architecture(),
            "node.kubernetes.io/instance-type": f"sandbox-{node.gpus}gpu", "drillbook.io/sandbox": self._config.name,
            **({"nvidia.com/gpu.present": "true", "nvidia.com/gpu.product": node.gpu_product,
                "nvidia.com/gpu.count": str(node.gpus)} if node.gpus else {}),
        }  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "Node", "metadata": {"name": node.name, "labels": labels},
            "spec": {"podCIDR": self._config.network, "providerID": f"drillbook://{self._config.name}/{node.name}"},
            "status": {
                "capacity": self.allocatable, "allocatable": self.allocatable, "conditions": conditions(),
                "addresses": [{"type": "InternalIP", "address": self.address},
                              {"type": "Hostname", "address": node.name}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": self._port}}, "nodeInfo": _node_info(self.name),
            },
        }  # fmt: skip

    async def register(self) -> None:
        """Make the Node, or take over the one that an earlier agent made; waits for the API server."""
        while True:
            try:
                await self._api.post("/api/v1/nodes", self._object())
                self._recorder.node(self.name, "Starting", "Starting kubelet.")
                break
            except ApiError as error:
                if error.status == 409:
                    await self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": self._object()["status"]})
                    break
                if error.status not in (0, 503):
                    raise
                await asyncio.sleep(0.05)
        await lease.renew(self._api, self.name)

    async def keep_alive(self) -> None:
        """Renew the lease, and say again that the node is ready where the control plane lost faith. Never returns."""
        while True:
            await asyncio.sleep(lease.RENEW_EVERY)
            await self.speaking.wait()
            try:
                await lease.renew(self._api, self.name)
                found = await self._api.get(f"/api/v1/nodes/{self.name}")
                ready = [row for row in found["status"].get("conditions", []) if row["type"] == "Ready"]
                if not ready or ready[0]["status"] != "True":
                    status = {"conditions": conditions()}
                    await self._api.patch(f"/api/v1/nodes/{self.name}/status", {"status": status})
            except ApiError as error:
                if error.status == 404:
                    await self.register()

    async def obey(self) -> None:
        """Follow the node's annotation. Never returns."""
        async for kind, obj in self._api.watch("/api/v1/nodes", fieldSelector=f"metadata.name={self.name}"):
            for node in obj.get("items") or [] if kind == "SYNCED" else [obj]:
                silent = (node["metadata"].get("annotations") or {}).get(SILENT) == "stopped" and kind != "DELETED"
                if silent:
                    self.speaking.clear()
                elif not self.speaking.is_set():
                    self.speaking.set()
                    self.on_speak()


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())


def conditions() -> list[Json]:
    """Those of a node on which all is well."""
    now = times.stamp()
    rows = [
        ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    return [
        {"type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now,
         "lastTransitionTime": now}
        for kind, status, reason, message in rows
    ]  # fmt: skip


def _node_info(name: str) -> Json:
    return {
        "architecture": _architecture(), "operatingSystem": "linux", "kernelVersion": os.uname().release,
        "osImage": "drillbook sandbox", "containerRuntimeVersion": f"drillbook://{__version__}",
        "kubeletVersion": "v1.33.0", "kubeProxyVersion": "v1.33.0", "machineID": name, "systemUUID": name,
        "bootID": clock.boot_id(),
    }  # fmt: skip
