"""The sandbox's metrics-server: PodMetrics and NodeMetrics, and for autoscalers what the pods' own ``/metrics`` say.

Pods are scraped only where a HorizontalPodAutoscaler of their namespace names a metric of their own, so that nobody
pays for what nobody reads. Their values go into ``custom``, a field that only the sandbox's control plane knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import aiohttp

from drillbook.errors import DrillbookError
from drillbook.sandbox.control import times
from drillbook.sandbox.node.api import ApiError, Json
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.machine import Machine
from drillbook.sandbox.node.pod import Pod
from drillbook.sandbox.node.usage import Meter, Usage

PERIOD = 15.0
"""Seconds between two rounds: metrics-server's own default resolution. A quicker autoscaler has quicker rounds."""
WITHHELD = "drillbook.io/metrics"
"""An annotation of a Namespace: with the value ``withheld`` nobody gets metrics of its pods, for drills."""
_FIRST = 5.0
_SCRAPE_SECONDS = 2.0
_SCRAPES_AT_ONCE = 16
_BASE = "/apis/metrics.k8s.io/v1beta1"
_SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)(?:\{.*\})?\s+(?P<value>\S+)")


class Metrics:
    """Measures the agent's pods and writes down what it found, round after round."""

    def __init__(self, host: Host, pods: Mapping[str, Pod], machines: Sequence[Machine]) -> None:
        self._host = host
        self._pods = pods
        self._machines = machines
        self._meter = Meter()
        self._period = max(1.0, min(PERIOD, float(host.config.control.get("hpa_sync_period", PERIOD))))

    async def run(self) -> None:
        """Until cancelled. A round that fails is left out, as it would be on a cluster."""
        await asyncio.sleep(min(_FIRST, self._period))
        timeout = aiohttp.ClientTimeout(total=_SCRAPE_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                try:
                    await self._round(session)
                except DrillbookError:  # the API server or the runtime is away
                    await asyncio.sleep(1.0)
                await asyncio.sleep(self._period)

    async def _round(self, session: aiohttp.ClientSession) -> None:
        pids = {record.id: record.pid for record in await self._host.runtime.containers() if record.exit is None}
        used = await asyncio.to_thread(self._meter.measure, pids)
        custom = await self._scrape(session)
        withheld = await self._withheld()
        totals: dict[str, list[Usage]] = {machine.name: [] for machine in self._machines}
        for pod in list(self._pods.values()):
            if pod.obj["metadata"]["namespace"] in withheld:
                await self._forget(pod)
                continue
            rows = [(one.name, used[one.id]) for one in pod.everything if one.is_running and one.id in used]
            if rows:
                totals.setdefault(pod.obj["spec"]["nodeName"], []).extend(usage for _, usage in rows)
                await self._write_pod(pod, rows, custom.get(pod.uid, {}))
        for node, usages in totals.items():
            await self._write("", "nodes", {**_head("NodeMetrics", node, usages), "usage": _usage(usages)})

    async def _write_pod(self, pod: Pod, rows: list[tuple[str, Usage]], custom: Mapping[str, float]) -> None:
        meta = pod.obj["metadata"]
        obj = _head("PodMetrics", meta["name"], [usage for _, usage in rows])
        obj["metadata"] |= {
            "namespace": meta["namespace"], "labels": meta.get("labels") or {},
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": pod.uid}],
        }  # fmt: skip
        obj["containers"] = [{"name": name, "usage": _usage([usage])} for name, usage in rows]
        if custom:
            obj["custom"] = {name: f"{value:.3f}" for name, value in custom.items()}
        await self._write(f"/namespaces/{meta['namespace']}", "pods", obj)

    async def _withheld(self) -> set[str]:
        """Namespaces that metrics are withheld from, by their annotation."""
        found = (await self._host.api.get("/api/v1/namespaces")).get("items") or []
        notes = {one["metadata"]["name"]: one["metadata"].get("annotations") or {} for one in found}
        return {name for name, note in notes.items() if note.get(WITHHELD) == "withheld"}

    async def _forget(self, pod: Pod) -> None:
        meta = pod.obj["metadata"]
        with contextlib.suppress(ApiError):  # there is none, or there will be a next round
            await self._host.api.delete(f"{_BASE}/namespaces/{meta['namespace']}/pods/{meta['name']}", {})

    async def _write(self, where: str, plural: str, obj: Json) -> None:
        try:
            await self._host.api.put(f"{_BASE}{where}/{plural}/{obj['metadata']['name']}", obj)
        except ApiError as error:
            if error.status != 404:
                raise
            await self._host.api.post(f"{_BASE}{where}/{plural}", obj)

    async def _scrape(self, session: aiohttp.ClientSession) -> dict[str, dict[str, float]]:
        """The pods' own values of the metrics that autoscalers want, by pod uid."""
        autoscalers = await self._host.api.get("/apis/autoscaling/v2/horizontalpodautoscalers")
        wanted = _wanted(autoscalers["items"])
        asked = [pod for pod in self._pods.values() if pod.obj["metadata"]["namespace"] in wanted and pod.address]
        gate = asyncio.Semaphore(_SCRAPES_AT_ONCE)

        async def ask(pod: Pod) -> tuple[str, dict[str, float]]:
            url = _url(pod)
            if not url:
                return pod.uid, {}
            async with gate:
                return pod.uid, await _values(session, url, wanted[pod.obj["metadata"]["namespace"]])

        return dict(await asyncio.gather(*map(ask, asked)))


def _head(kind: str, name: str, usages: Iterable[Usage]) -> Json:
    window = max((usage.window for usage in usages), default=PERIOD)
    return {
        "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": {"name": name},
        "timestamp": times.stamp(), "window": f"{window:.3f}s",
    }  # fmt: skip


def _usage(usages: Sequence[Usage]) -> Json:
    cpu, memory = sum(usage.cpu for usage in usages), sum(usage.memory for usage in usages)
    return {"cpu": f"{round(cpu * 1e9)}n", "memory": f"{memory // 1024}Ki"}


def plain(name: str) -> str:
    """A metric's name as adapters write it, who may not use colons."""
    return name.replace(":", "_")


def _wanted(autoscalers: Iterable[Json]) -> dict[str, set[str]]:
    """The names (plain) of the metrics that are not of ``cpu`` or ``memory``, by namespace."""
    found: dict[str, set[str]] = defaultdict(set)
    for autoscaler in autoscalers:
        for metric in autoscaler["spec"].get("metrics") or []:
            for kind in ("pods", "external"):
                if kind in metric:
                    found[autoscaler["metadata"]["namespace"]].add(plain(metric[kind]["metric"]["name"]))
    return found


def _url(pod: Pod) -> str:
    """Where the pod tells its metrics: by Prometheus' usual annotations, else on its first declared port."""
    notes = pod.obj["metadata"].get("annotations") or {}
    ports = [row["containerPort"] for one in pod.obj["spec"]["containers"] for row in one.get("ports") or []]
    port = notes.get("prometheus.io/port") or next(iter(ports), "")
    return f"http://{pod.address}:{port}{notes.get('prometheus.io/path', '/metrics')}" if port else ""


async def _values(session: aiohttp.ClientSession, url: str, wanted: set[str]) -> dict[str, float]:
    """The wanted metrics' values, each summed over its label sets; empty where there is no answer in time."""
    try:
        async with session.get(url) as response:
            text = await response.text() if response.status == 200 else ""
    except (aiohttp.ClientError, TimeoutError, OSError):
        return {}
    return sums(text, wanted)


def sums(text: str, wanted: set[str]) -> dict[str, float]:
    """The wanted (plain) metrics of a Prometheus exposition, each summed over its label sets."""
    found: dict[str, float] = defaultdict(float)
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        if match and plain(match["name"]) in wanted and math.isfinite(float(match["value"])):
            found[match["name"]] += float(match["value"])
    return dict(found)
