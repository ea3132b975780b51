"""The whole control plane: store, registry, HTTP server and controllers, put together."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from drillbook.sandbox.control.builtin_kinds import KINDS
from drillbook.sandbox.control.controllers.manager import Manager
from drillbook.sandbox.control.crds import Definitions
from drillbook.sandbox.control.database import Database
from drillbook.sandbox.control.kinds import Kinds
from drillbook.sandbox.control.objects import Json
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.server import Server
from drillbook.sandbox.control.settings import Settings
from drillbook.sandbox.control.store import Store

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class ControlPlane:
    """``app`` serves the API; ``start`` sets the controllers going; ``close`` ends them and lets go of the store."""

    def __init__(self, path: Path, settings: Settings) -> None:
        self._database = Database(path)
        self.registry = Registry(Store(self._database), Kinds(KINDS), settings)
        self._bootstrap()
        self._definitions = Definitions(self.registry)
        self._manager = Manager(self.registry)
        self.app: web.Application = Server(self.registry).app

    def start(self) -> None:
        self._manager.start()

    async def close(self) -> None:
        await self._manager.close()
        self._database.close()

    def _bootstrap(self) -> None:
        """What every cluster has from its first moment."""
        for name in _NAMESPACES:
            self._ensure("namespaces", "", {"metadata": {"name": name}})

    def _ensure(self, resource: str, namespace: str, obj: Json) -> None:
        if self.registry.find(resource, namespace, obj["metadata"]["name"]) is None:
            self.registry.create(self.registry.kinds.of_resource(resource), namespace, obj)
