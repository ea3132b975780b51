"""Services and their endpoints as the cluster has them now, kept by two watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from drillbook.sandbox.node.api import Api, Json


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address behind a Service."""

    address: str
    hostname: str
    ready: bool
    serving: bool
    terminating: bool


@dataclass(slots=True)
class ServiceTable:
    """``on_change`` is called ``delay`` seconds after something changed, once for all that changed meanwhile."""

    api: Api
    on_change: Callable[[], None]
    delay: float
    services: dict[tuple[str, str], Json] = field(default_factory=dict)
    _slices: dict[tuple[str, str], Json] = field(default_factory=dict)
    _pending: bool = False

    async def run(self) -> None:
        """Follow both kinds until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow("/api/v1/services", self.services))
            group.create_task(self._follow("/apis/discovery.k8s.io/v1/endpointslices", self._slices))

    async def _follow(self, path: str, table: dict[tuple[str, str], Json]) -> None:
        async for kind, obj in self.api.watch(path):
            if kind == "SYNCED":
                table.clear()
                table.update({_key(one): one for one in obj.get("items") or []})
            elif kind == "DELETED":
                table.pop(_key(obj), None)
            else:
                table[_key(obj)] = obj
            if not self._pending:
                self._pending = True
                asyncio.get_running_loop().call_later(self.delay, self._tell)

    def _tell(self) -> None:
        self._pending = False
        self.on_change()

    def slices(self, namespace: str, service: str) -> Iterator[Json]:
        for (where, _), obj in self._slices.items():
            labels = obj["metadata"].get("labels") or {}
            if where == namespace and labels.get("kubernetes.io/service-name") == service:
                yield obj

    def endpoints(self, namespace: str, service: str) -> list[Endpoint]:
        return [endpoint for one in self.slices(namespace, service) for endpoint in _endpoints(one)]

    def backends(self, namespace: str, service: str, port: Json) -> list[tuple[str, int]]:
        """Where connections to this port of the Service go: to ready endpoints, else to those that end but still serve.

        As kube-proxy chooses (KEP-1669).
        """
        ready, fallback = [], []
        for one in self.slices(namespace, service):
            number = next((row["port"] for row in one.get("ports") or [] if (row.get("name") or "") ==
                           (port.get("name") or "")), None)  # fmt: skip
            if number is None:
                continue
            for endpoint in _endpoints(one):
                if endpoint.ready:
                    ready.append((endpoint.address, number))
                elif endpoint.serving and endpoint.terminating:
                    fallback.append((endpoint.address, number))
        return ready or fallback


def _key(obj: Json) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _endpoints(one: Json) -> Iterator[Endpoint]:
    for row in one.get("endpoints") or []:
        conditions = row.get("conditions") or {}
        ready = conditions.get("ready") is not False
        serving = conditions.get("serving")
        for address in row.get("addresses") or []:
            yield Endpoint(
                address=address, hostname=row.get("hostname") or "", ready=ready,
                serving=ready if serving is None else bool(serving), terminating=bool(conditions.get("terminating")),
            )  # fmt: skip
