"""Events as kubelets write them: equal ones are one object whose count grows."""

from __future__ import annotations

import asyncio
import uuid

from drillbook.sandbox.control import times
from drillbook.sandbox.node.api import MERGE, Api, ApiError, Json

_MOST_WAITING = 2000
"""Older events are dropped when the API server is away for long, as by a real kubelet."""


class Recorder:
    """Writes events in the background, in order, one at a time."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._waiting: asyncio.Queue[tuple[str, Json]] = asyncio.Queue(_MOST_WAITING)
        self._written: dict[tuple[str, ...], tuple[str, int]] = {}

    def pod(self, pod: Json, reason: str, message: str, *, container: str = "", warning: bool = False,
            field: str = "spec.containers") -> None:  # fmt: skip
        meta = pod["metadata"]
        involved = {
            "apiVersion": "v1", "kind": "Pod", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }  # fmt: skip
        if container:
            involved["fieldPath"] = f"{field}{{{container}}}"
        self._add(involved, meta["namespace"], pod["spec"].get("nodeName", ""), reason, message, warning)

    def node(self, name: str, reason: str, message: str) -> None:
        self._add({"kind": "Node", "name": name, "uid": name}, "default", name, reason, message, False)

    def _add(self, involved: Json, namespace: str, host: str, reason: str, message: str, warning: bool) -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        now = times.stamp()
        event = {
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": f"{involved['name']}.{uuid.uuid4().hex[:16]}", "namespace": namespace},
            "involvedObject": involved, "reason": reason, "message": message,
            "type": "Warning" if warning else "Normal", "count": 1, "firstTimestamp": now, "lastTimestamp": now,
            "source": {"component": "kubelet", "host": host},
            "reportingComponent": "kubelet", "reportingInstance": host,
        }  # fmt: skip
        self._waiting.put_nowait((namespace, event))

    async def run(self) -> None:
        """Write until cancelled; an event that the server refuses is dropped, one that it cannot take waits."""
        while True:
            namespace, event = await self._waiting.get()
            while True:
                try:
                    await self._write(namespace, event)
                except ApiError as error:
                    if error.status == 0:
                        await asyncio.sleep(0.5)
                        continue
                break

    async def _write(self, namespace: str, event: Json) -> None:
        involved = event["involvedObject"]
        key = (involved["uid"], involved.get("fieldPath", ""), event["reason"], event["message"])
        folder = f"/api/v1/namespaces/{namespace}/events"
        if key in self._written:
            name, count = self._written[key]
            try:
                more = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
                await self._api.patch(f"{folder}/{name}", more, MERGE)
                self._written[key] = (name, count + 1)
                return
            except ApiError as error:
                if error.status != 404:  # it expired meanwhile: a new one is written
                    raise
        await self._api.post(folder, event)
        self._written[key] = (event["metadata"]["name"], 1)
        if len(self._written) > 4096:
            del self._written[next(iter(self._written))]
