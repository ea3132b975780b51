"""The controller manager: makes, starts and ends all controllers together."""

from __future__ import annotations

from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.deployments import Deployments
from drillbook.sandbox.control.controllers.endpoints import EndpointsOfServices
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.controllers.replicasets import ReplicaSets
from drillbook.sandbox.control.controllers.scheduler import Scheduler
from drillbook.sandbox.control.registry import Registry

CONTROLLERS: tuple[type[Controller], ...] = (Scheduler, ReplicaSets, Deployments, EndpointsOfServices)


class Manager:
    """All controllers over one registry."""

    def __init__(self, registry: Registry) -> None:
        recorder = Recorder(registry)
        self.controllers = [made(registry, recorder) for made in CONTROLLERS]

    def start(self) -> None:
        for controller in self.controllers:
            controller.start()

    async def close(self) -> None:
        for controller in self.controllers:
            await controller.close()
