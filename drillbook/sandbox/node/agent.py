"""The agent: registers nodes, watches the pods bound to them, and gives each a worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.node.api import Api, Json
from drillbook.sandbox.node.firewall import Firewall
from drillbook.sandbox.node.hollow import HollowNodes
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.kubelet_server import KubeletServer
from drillbook.sandbox.node.machine import Machine
from drillbook.sandbox.node.metrics import Metrics
from drillbook.sandbox.node.network import PodNetwork
from drillbook.sandbox.node.pod import Pod
from drillbook.sandbox.node.recorder import Recorder
from drillbook.sandbox.node.references import References
from drillbook.sandbox.node.runtime_client import RuntimeClient
from drillbook.sandbox.node.spec import ContainerRecord

_log = logging.getLogger(__name__)
KUBELET_PORT = 11250
"""Not 10250: a real kubelet on the same machine listens there on every address, and neither would let the other
start."""


class Agent:
    """One agent for all nodes of a sandbox. Started again, it takes over what the one before it ran."""

    def __init__(self, config: SandboxConfig, url: str) -> None:
        self._config = config
        self._url = url
        self.pods: dict[str, Pod] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._records: dict[str, ContainerRecord] = {}

    async def run(self) -> None:
        """Run until cancelled. When the runtime is lost the process starts itself anew, and with it a new runtime."""
        config = self._config
        api = Api(self._url)
        recorder = Recorder(api)
        runtime = RuntimeClient(config.path / "node", lambda id_, end: host.on_exit(id_, end), start_anew)
        host = Host(
            config=config, api=api, recorder=recorder, runtime=runtime, network=PodNetwork(config),
            references=References(api), isolated=False,
        )  # fmt: skip
        await runtime.connect()
        self._records = {record.id: record for record in await runtime.containers()}
        host.isolated = runtime.isolated
        await host.network.open()
        machines = [Machine(config, index, KUBELET_PORT, api, recorder) for index in range(len(config.nodes))]
        server = KubeletServer(host, self.pods, [machine.address for machine in machines], KUBELET_PORT)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(server.run())
                group.create_task(recorder.run())
                group.create_task(HollowNodes(api).run())
                group.create_task(Firewall(host, self.pods).run())
                group.create_task(Metrics(host, self.pods, machines).run())
                for machine in machines:
                    group.create_task(self._watch(host, machine))
                group.create_task(self._end_strays(host, machines))
        finally:
            await host.network.close()
            await api.close()

    async def _watch(self, host: Host, machine: Machine) -> None:
        await machine.register()
        duties = [asyncio.create_task(machine.keep_alive()), asyncio.create_task(machine.obey())]
        held: dict[str, Json] = {}
        """What a silent kubelet has not taken up yet."""

        def catch_up() -> None:
            while held:
                self._take(host, machine, held.popitem()[1])

        machine.on_speak = catch_up
        try:
            async for kind, obj in host.api.watch("/api/v1/pods", fieldSelector=f"spec.nodeName={machine.name}"):
                if kind == "SYNCED":
                    self._take_list(host, machine, obj.get("items") or [])
                elif kind == "DELETED":
                    held.pop(obj["metadata"]["uid"], None)
                    self._removed(obj["metadata"]["uid"])
                elif machine.speaking.is_set():
                    self._take(host, machine, obj)
                else:
                    held[obj["metadata"]["uid"]] = obj
        finally:
            for duty in duties:
                duty.cancel()

    def _take_list(self, host: Host, machine: Machine, items: list[Json]) -> None:
        there = {obj["metadata"]["uid"] for obj in items}
        for uid, pod in list(self.pods.items()):
            if pod.obj["spec"].get("nodeName") == machine.name and uid not in there:
                pod.remove()
        for obj in items:
            self._take(host, machine, obj)
        machine.listed.set()

    def _take(self, host: Host, machine: Machine, obj: Json) -> None:
        obj.setdefault("apiVersion", "v1")
        obj.setdefault("kind", "Pod")
        uid = obj["metadata"]["uid"]
        pod = self.pods.get(uid)
        if pod is None:
            pod = self.pods[uid] = Pod(host, machine, obj)
            if obj.get("status", {}).get("containerStatuses"):
                pod.adopt(self._records)
            self._tasks[uid] = asyncio.create_task(pod.run())
            self._tasks[uid].add_done_callback(lambda task: self._ended(uid, task))
        pod.update(obj)

    def _removed(self, uid: str) -> None:
        if uid in self.pods:
            self.pods[uid].remove()

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        self.pods.pop(uid, None)
        self._tasks.pop(uid, None)
        if not task.cancelled() and task.exception() is not None:
            _log.error("pod %s: the worker failed", uid, exc_info=task.exception())

    async def _end_strays(self, host: Host, machines: list[Machine]) -> None:
        """Kill containers of pods that were deleted while no agent was there."""
        for machine in machines:
            await machine.listed.wait()
        host.listed.set()
        for record in self._records.values():
            if record.pod not in self.pods and record.exit is None:
                await host.runtime.signal(record.id, signal.SIGKILL)
                await host.ended(record.id)
        for uid in {record.pod for record in self._records.values()} - self.pods.keys():
            await host.runtime.forget_pod(uid)
        self._records.clear()


def start_anew() -> None:
    """Replace this process by a new one with the same arguments."""
    _log.error("the container runtime is gone; starting anew")
    os.execv(sys.executable, [sys.executable, "-m", "drillbook.sandbox.node", *sys.argv[1:]])  # noqa: S606 -- ourselves
