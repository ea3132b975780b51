"""Holds the cluster's NetworkPolicies on the bridge: follows them and the pods, and loads a ruleset when it differs."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
from collections.abc import Mapping

from drillbook.sandbox.node.api import Json
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.pod import Pod
from drillbook.sandbox.node.policies import PodView, ruleset

_log = logging.getLogger(__name__)
LOOK_SECONDS = 0.5
"""How soon a pod that came or went is in the ruleset; policies themselves are taken up at once."""
_POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
_NAMESPACES = "/api/v1/namespaces"


class Firewall:
    """Nothing is filtered until there is a first policy."""

    def __init__(self, host: Host, pods: Mapping[str, Pod]) -> None:
        self._host = host
        self._pods = pods
        self._policies: dict[str, Json] = {}
        self._namespaces: dict[str, Json] = {}
        self._changed = asyncio.Event()
        self._loaded = ""

    async def run(self) -> None:
        """Until cancelled. Without a bridge, or without ``nft``, policies are stored and nobody acts on them."""
        if not self._host.config.bridged:
            return
        if shutil.which("nft") is None:
            _log.warning("nft is not installed: NetworkPolicies have no effect")
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(_POLICIES, self._policies))
            group.create_task(self._follow(_NAMESPACES, self._namespaces))
            while True:
                self._changed.clear()
                if self._policies or self._loaded:
                    await self._load()
                try:
                    await asyncio.wait_for(self._changed.wait(), LOOK_SECONDS if self._policies else None)
                except TimeoutError:
                    continue

    async def _follow(self, path: str, table: dict[str, Json]) -> None:
        async for kind, obj in self._host.api.watch(path):
            if kind == "SYNCED":
                table.clear()
                table.update({one["metadata"]["uid"]: one for one in obj.get("items") or []})
            elif kind == "DELETED":
                table.pop(obj["metadata"]["uid"], None)
            else:
                table[obj["metadata"]["uid"]] = obj
            self._changed.set()

    async def _load(self) -> None:
        labels = {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in self._namespaces.values()}
        pods = [_view(pod) for pod in self._pods.values() if pod.address]
        text = ruleset(self._host.config.bridge, list(self._policies.values()), pods, labels)
        if text == self._loaded:
            return
        done = await asyncio.to_thread(
            subprocess.run, ["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False
        )
        if done.returncode:
            _log.error("nft refused the network policies: %s", done.stderr.strip()[:500])
        self._loaded = text


def _view(pod: Pod) -> PodView:
    meta = pod.obj["metadata"]
    rows = (row for one in pod.obj["spec"]["containers"] for row in one.get("ports") or [])
    ports = {row["name"]: row["containerPort"] for row in rows if row.get("name")}
    return PodView(meta["namespace"], meta.get("labels") or {}, pod.address, ports)
