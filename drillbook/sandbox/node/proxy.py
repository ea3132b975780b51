"""The service proxy: every ClusterIP and port is a listening socket here, relayed to a ready endpoint chosen at random.

Between a client and a pod it adds one hop through this process (a fraction of a millisecond). Connections that exist go
on when their endpoint is removed, and a Service without endpoints refuses connections, both as with kube-proxy. Unlike
there, a backend that refuses is seen as a reset: the client's connection has been accepted by then.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from functools import partial

from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.node.api import Api, Json
from drillbook.sandbox.node.dns import IP_FREEBIND, Resolver
from drillbook.sandbox.node.relay import Relay
from drillbook.sandbox.node.service_table import ServiceTable

_log = logging.getLogger(__name__)
Key = tuple[str, int]


class Proxy:
    """Listens for all Services of a sandbox, and for its API server at the gateway's address."""

    def __init__(self, config: SandboxConfig, url: str) -> None:
        self._config = config
        self._api = Api(url)
        self._table = ServiceTable(self._api, lambda: self._changed.set(), config.endpoint_delay)
        self._changed = asyncio.Event()
        self._backends: dict[Key, list[tuple[str, int]]] = {}
        self._servers: dict[Key, asyncio.Server] = {}
        self._random = random.Random()  # noqa: S311 -- which endpoint is no secret

    async def run(self) -> None:
        """Serve until cancelled."""
        gateway = (self._config.gateway, self._config.api_port)
        self._backends[gateway] = [("127.0.0.1", self._config.api_port)]
        await self._listen(gateway)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._table.run())
            group.create_task(Resolver(self._config, self._table).run())
            while True:
                await self._changed.wait()
                self._changed.clear()
                await self._apply(gateway)

    async def _apply(self, gateway: Key) -> None:
        wanted: dict[Key, list[tuple[str, int]]] = {}
        for (namespace, name), service in self._table.services.items():
            address = service["spec"].get("clusterIP")
            if address in (None, "", "None"):
                continue
            for port in service["spec"].get("ports") or []:
                backends = self._table.backends(namespace, name, port)
                if backends and _is_tcp(port):
                    wanted[(address, port["port"])] = backends
        wanted[gateway] = self._backends[gateway]
        self._backends = wanted
        for key in self._servers.keys() - wanted.keys():
            self._servers.pop(key).close()
        for key in wanted.keys() - self._servers.keys():
            await self._listen(key)

    async def _listen(self, key: Key) -> None:
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            listener.bind(key)
        except OSError as error:
            _log.error("cannot listen on %s:%d: %s", *key, error.strerror)
            listener.close()
            return
        loop = asyncio.get_running_loop()
        self._servers[key] = await loop.create_server(
            lambda: Relay(partial(self._choose, key)), sock=listener, backlog=1024
        )

    def _choose(self, key: Key) -> tuple[str, int] | None:
        backends = self._backends.get(key)
        return self._random.choice(backends) if backends else None


def _is_tcp(port: Json) -> bool:
    return (port.get("protocol") or "TCP") == "TCP"
