"""Hollow nodes: every pod on them is Running and Ready at once, and nothing runs. For drills at a fleet's scale.

Who wants one creates a Node with the label ``drillbook.io/hollow: "true"`` and whatever capacity it is to have; the
agent speaks for it from then on. A hollow pod has no address, so that no Service ever sends a request to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from drillbook.sandbox.control import times
from drillbook.sandbox.node import lease, machine, pod_status
from drillbook.sandbox.node.api import Api, ApiError, Json

LABEL = "drillbook.io/hollow"
_AT_ONCE = 16
"""Requests in flight for one node: more would only wait in the API server."""
_log = logging.getLogger(__name__)


class HollowNodes:
    """Finds hollow nodes as they come and go."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._nodes: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Speak for hollow nodes until cancelled."""
        try:
            async for kind, obj in self._api.watch("/api/v1/nodes", labelSelector=f"{LABEL}=true"):
                if kind == "SYNCED":
                    there = {node["metadata"]["name"] for node in obj.get("items") or []}
                    for name in self._nodes.keys() - there:
                        self._leave(name)
                    for name in there - self._nodes.keys():
                        self._join(name)
                elif kind == "DELETED":
                    self._leave(obj["metadata"]["name"])
                elif obj["metadata"]["name"] not in self._nodes:
                    self._join(obj["metadata"]["name"])
        finally:
            for name in list(self._nodes):
                self._leave(name)

    def _join(self, name: str) -> None:
        self._nodes[name] = asyncio.create_task(_Node(self._api, name).run())

    def _leave(self, name: str) -> None:
        if name in self._nodes:
            self._nodes.pop(name).cancel()


class _Node:
    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._name = name
        self._waiting: asyncio.Queue[Json] = asyncio.Queue()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_alive())
            for _ in range(_AT_ONCE):
                group.create_task(self._work())
            async for kind, obj in self._api.watch("/api/v1/pods", fieldSelector=f"spec.nodeName={self._name}"):
                for pod in (obj.get("items") or []) if kind == "SYNCED" else [obj]:
                    if kind != "DELETED" and (_is_leaving(pod) or _is_new(pod)):
                        self._waiting.put_nowait(pod)

    async def _keep_alive(self) -> None:
        path = f"/api/v1/nodes/{self._name}"
        while True:
            with contextlib.suppress(ApiError):  # the next round comes soon, and a node that is gone ends this task
                await lease.renew(self._api, self._name)
                node = await self._api.get(path)
                rows = {row["type"]: row["status"] for row in node.get("status", {}).get("conditions") or []}
                if rows.get("Ready") != "True":
                    await self._api.patch(f"{path}/status", {"status": {"conditions": machine.conditions()}})
            await asyncio.sleep(lease.RENEW_EVERY)

    async def _work(self) -> None:
        while True:
            pod = await self._waiting.get()
            try:
                await self._settle(pod)
            except ApiError as error:
                if error.status == 0:
                    await asyncio.sleep(0.5)
                    self._waiting.put_nowait(pod)
                elif error.status not in (404, 409):  # it is gone, or a namesake has its place
                    _log.warning("hollow pod %s: %s", pod["metadata"]["name"], error.message)

    async def _settle(self, pod: Json) -> None:
        meta = pod["metadata"]
        path, uid = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}", meta["uid"]
        if _is_leaving(pod):
            await self._api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        else:
            await self._api.patch(f"{path}/status", {"metadata": {"uid": uid}, "status": status_of(pod)})


def _is_leaving(pod: Json) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _is_new(pod: Json) -> bool:
    return bool(pod.get("status", {}).get("phase", "Pending") == "Pending")


def status_of(pod: Json) -> Json:
    """What a kubelet would say of this pod once everything in it runs."""
    now = times.stamp()
    init = [_container(row, now, over=row.get("restartPolicy") != "Always")
            for row in pod["spec"].get("initContainers") or []]  # fmt: skip
    main = [_container(row, now, over=False) for row in pod["spec"]["containers"]]
    rows = {row["type"]: row for row in pod.get("status", {}).get("conditions") or []}
    return {
        "phase": "Running", "conditions": pod_status.conditions(pod, "Running", init, main, rows, now),
        "startTime": now, "containerStatuses": main, **({"initContainerStatuses": init} if init else {}),
    }  # fmt: skip


def _container(definition: Json, now: str, *, over: bool) -> Json:
    ended = {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}
    return {
        "name": definition["name"], "image": definition.get("image", ""), "imageID": "", "restartCount": 0,
        "ready": True, "started": not over, "lastState": {},
        "state": {"terminated": ended} if over else {"running": {"startedAt": now}},
    }  # fmt: skip
