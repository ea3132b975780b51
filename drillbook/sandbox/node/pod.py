"""One pod on this node, from its binding to the confirmation of its deletion."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

from drillbook.sandbox.control import times
from drillbook.sandbox.node import pod_status
from drillbook.sandbox.node.api import ApiError, Json
from drillbook.sandbox.node.container import ID_PREFIX, Container
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.machine import Machine
from drillbook.sandbox.node.network import NoAddressError
from drillbook.sandbox.node.runtime_client import RuntimeCallError
from drillbook.sandbox.node.spec import ContainerRecord
from drillbook.sandbox.node.volumes import VolumeError, Volumes

_RETRY_SETUP = 2.0
_RETRY_API = 0.2


class Pod:
    """``obj`` is the pod as the API server last told it; ``changed`` has its status written."""

    def __init__(self, host: Host, machine: Machine, obj: Json) -> None:
        self._host = host
        self._node = machine
        self.obj = obj
        self.uid: str = obj["metadata"]["uid"]
        self.folder: Path = host.folder / "pods" / self.uid
        self.hostname: str = (obj["spec"].get("hostname") or obj["metadata"]["name"])[:63].rstrip(".-")
        self.machine = machine.allocatable
        self.address: str = ""
        self.volumes = Volumes(host, obj)
        self.stopping = asyncio.Event()
        self._path = f"/api/v1/namespaces/{obj['metadata']['namespace']}/pods/{obj['metadata']['name']}"
        self._dirty = asyncio.Event()
        self._removed = False
        self._over = False
        self._problem: Json = {}
        status = obj.get("status", {})
        self._started: str = status.get("startTime") or times.stamp()
        self._conditions: dict[str, Json] = {row["type"]: row for row in status.get("conditions") or []}
        self._sent: Json = {}
        self.init = self._containers("initContainers")
        self.main = self._containers("containers")
        self.ephemeral: list[Container] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def _containers(self, field: str) -> list[Container]:
        return [Container(self._host, self, row, field) for row in self.obj["spec"].get(field) or []]

    @property
    def everything(self) -> list[Container]:
        return [*self.init, *self.main, *self.ephemeral]

    def container(self, name: str) -> Container | None:
        return next((one for one in self.everything if one.name == name), None)

    def id_of(self, container: str) -> str:
        """The id of a running container of this pod; empty if there is none of that name."""
        found = self.container(container)
        return found.id if found is not None and found.is_running else ""

    # -- what the agent tells it ---------------------------------------------------------------------------------------

    def adopt(self, records: Mapping[str, ContainerRecord]) -> None:
        """Take over what an earlier agent ran; ``records`` are the runtime's, by container id."""
        status = self.obj.get("status", {})
        self.address = status.get("podIP", "")
        if self.address and not self.obj["spec"].get("hostNetwork"):
            self._host.network.keep(self.uid, self.address)
        rows = {row["name"]: row for field in ("init", "", "ephemeral")
                for row in status.get(_status_field(field)) or []}  # fmt: skip
        self._follow_ephemeral(start=False)
        for container in self.everything:
            if container.name in rows:
                id_ = rows[container.name].get("containerID", "").removeprefix(ID_PREFIX)
                container.adopt(rows[container.name], records.get(id_))

    def update(self, obj: Json) -> None:
        """The API server told of a change."""
        earlier = self.obj["metadata"].get("deletionGracePeriodSeconds")
        self.obj = obj
        if obj["metadata"].get("deletionTimestamp"):
            grace = obj["metadata"].get("deletionGracePeriodSeconds", 0)
            if self.stopping.is_set() and earlier is not None and grace < earlier:
                self._hurry(grace)
            self.stopping.set()
        self._follow_ephemeral(start=True)

    def remove(self) -> None:
        """The API server does not have it any more (a forced deletion): end it with the least grace."""
        self._removed = True
        if self.stopping.is_set():
            if self.obj["metadata"].get("deletionGracePeriodSeconds"):
                self._hurry(0)
        else:
            self.obj["metadata"]["deletionGracePeriodSeconds"] = 0
            self.stopping.set()
        self._dirty.set()

    def _hurry(self, grace: float) -> None:
        self._spawn(self._kill_after(grace))

    async def _kill_after(self, grace: float) -> None:
        await asyncio.sleep(max(grace, 1.0))
        await asyncio.gather(*(container.kill() for container in self.everything))

    def _follow_ephemeral(self, *, start: bool) -> None:
        known = {container.name for container in self.ephemeral}
        for row in self.obj["spec"].get("ephemeralContainers") or []:
            if row["name"] not in known:
                container = Container(self._host, self, row, "ephemeralContainers")
                self.ephemeral.append(container)
                if start and not self.stopping.is_set():
                    self._spawn(container.run())

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]  # any coroutine without result
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Run the pod until it is gone from the API server and from this machine."""
        syncing = asyncio.create_task(self._sync())
        try:
            if self.obj.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
                await self._live_and_die()
                self._over = True
                self.changed()
                await self._host.network.detach(self.uid)
                await self._host.runtime.forget_pod(self.uid)
            await self.stopping.wait()
            await self._confirm(syncing)
        finally:
            syncing.cancel()
            for task in self._tasks:
                task.cancel()
            self._host.network.release(self.uid)
            await asyncio.to_thread(self.volumes.remove)

    async def _live_and_die(self) -> None:
        life = asyncio.create_task(self._live())
        deadline = self.obj["spec"].get("activeDeadlineSeconds")
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({life, stop}, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        if not life.done() and not stop.done():
            self._problem = {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the "
                             "specified deadline"}  # fmt: skip
        stop.cancel()
        if not life.done():
            grace = self.obj["metadata"].get("deletionGracePeriodSeconds")
            if grace is None:
                grace = self.obj["spec"].get("terminationGracePeriodSeconds", 30)
            await self._stop_containers(grace, life)
        await life

    async def _stop_containers(self, grace: float, life: asyncio.Task[None]) -> None:
        if self._problem:
            for container in self.main:
                container.give_up()
        sidecars = [container for container in self.init if container.is_sidecar]
        others = [container for container in self.everything if container not in sidecars]
        await asyncio.gather(*(container.stop(grace) for container in others))
        for container in reversed(sidecars):
            await container.stop(grace)
        await asyncio.wait({life}, timeout=1.0)  # a start that was under way when the pod was stopped
        while not life.done():
            await asyncio.gather(*(container.stop(0) for container in self.everything))
            await asyncio.wait({life}, timeout=0.1)

    async def _live(self) -> None:
        self.changed()
        if not await self._set_up():
            return
        self.changed()
        sidecars = []
        for container in self.init:
            if container.is_sidecar:
                sidecars.append(asyncio.create_task(container.run()))
                await self._until_started(container)
            elif container.exit_code != 0:
                await container.run()
                if container.exit_code != 0:
                    return
            if self.stopping.is_set():
                break
        if not self.stopping.is_set():
            await asyncio.gather(*(container.run() for container in [*self.main, *self.ephemeral]))
        if sidecars:
            await self._end_sidecars(sidecars)

    async def _until_started(self, container: Container) -> None:
        while not container.started and not self.stopping.is_set():  # noqa: ASYNC110 -- rare, and nobody else waits
            await asyncio.sleep(0.05)

    async def _end_sidecars(self, tasks: list[asyncio.Task[None]]) -> None:
        for container in reversed(self.init):
            if container.is_sidecar:
                container.give_up()
                await container.stop(self.obj["spec"].get("terminationGracePeriodSeconds", 30))
        await asyncio.gather(*tasks)

    async def _set_up(self) -> bool:
        """Network and volumes. False where the pod was stopped before they could be had."""
        await self._host.listed.wait()
        while not self.stopping.is_set():
            try:
                if self.obj["spec"].get("hostNetwork"):
                    self.address = self._node.address
                else:
                    namespace = await self._host.runtime.network(self.uid) if self._host.config.bridged else ""
                    self.address = await self._host.network.attach(self.uid, namespace)
                await self.volumes.prepare()
                return True
            except (RuntimeCallError, NoAddressError, OSError) as error:
                message = f"Failed to create pod sandbox: {error}"
                self._host.recorder.pod(self.obj, "FailedCreatePodSandBox", message, warning=True)
            except (VolumeError, ApiError) as error:
                self._host.recorder.pod(self.obj, "FailedMount", error.message, warning=True)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), _RETRY_SETUP)
        return False

    # -- status --------------------------------------------------------------------------------------------------------

    def changed(self) -> None:
        self._dirty.set()

    def _status(self) -> Json:
        init, main = [one.status() for one in self.init], [one.status() for one in self.main]
        phase = pod_status.phase(self.obj["spec"], init, main, over=self._over)
        if self._problem:
            phase = "Failed"
        rows = pod_status.conditions(self.obj, phase, init, main, self._conditions, times.stamp())
        self._conditions = {row["type"]: row for row in rows}
        address = {"podIP": self.address, "podIPs": [{"ip": self.address}]} if self.address else {}
        extra = [one.status() for one in self.ephemeral]
        return {
            "phase": phase, "conditions": rows, "hostIP": self._node.address, "startTime": self._started, **address,
            "hostIPs": [{"ip": self._node.address}], "containerStatuses": main, **self._problem,
            **({"initContainerStatuses": init} if init else {}),
            **({"ephemeralContainerStatuses": extra} if extra else {}),
        }  # fmt: skip

    async def _sync(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._write_status()

    async def _write_status(self) -> None:
        await self._node.speaking.wait()
        status = self._status()
        while not self._removed and status != self._sent:
            try:
                await self._host.api.patch(f"{self._path}/status", {"metadata": {"uid": self.uid}, "status": status})
                self._sent = status
            except ApiError as error:
                if error.status in (404, 409):
                    return  # it is gone, or a namesake has its place: the watch tells
                await asyncio.sleep(_RETRY_API)
            status = self._status()

    async def _confirm(self, syncing: asyncio.Task[None]) -> None:
        """Write the last status, then tell the API server that nothing runs here any more."""
        syncing.cancel()
        await asyncio.gather(syncing, return_exceptions=True)
        await self._write_status()
        while not self._removed:
            try:
                body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self.uid}}
                await self._host.api.delete(self._path, body)
                return
            except ApiError as error:
                if error.status in (404, 409):
                    return
                await asyncio.sleep(_RETRY_API)


def _status_field(part: str) -> str:
    return f"{part}ContainerStatuses" if part else "containerStatuses"
