"""The controller manager: makes, starts and ends all controllers together."""

from __future__ import annotations

from drillbook.sandbox.control.controllers.analysisruns import AnalysisRuns
from drillbook.sandbox.control.controllers.argorollouts import ArgoRollouts
from drillbook.sandbox.control.controllers.autoscalers import Autoscalers
from drillbook.sandbox.control.controllers.budgets import DisruptionBudgets
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.daemonsets import DaemonSets
from drillbook.sandbox.control.controllers.definitions import CustomResourceCleanup
from drillbook.sandbox.control.controllers.deployments import Deployments
from drillbook.sandbox.control.controllers.endpoints import EndpointsOfServices
from drillbook.sandbox.control.controllers.garbage import GarbageCollector
from drillbook.sandbox.control.controllers.jobs import Jobs
from drillbook.sandbox.control.controllers.leaderworkersets import LeaderWorkerSets
from drillbook.sandbox.control.controllers.namespaces import Namespaces
from drillbook.sandbox.control.controllers.nodes import NodeLifecycle
from drillbook.sandbox.control.controllers.oldevents import OldEvents
from drillbook.sandbox.control.controllers.orphans import PodsOfLostNodes
from drillbook.sandbox.control.controllers.pipeline import ReleasePipeline
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.controllers.replicasets import ReplicaSets
from drillbook.sandbox.control.controllers.scheduler import Scheduler
from drillbook.sandbox.control.controllers.statefulsets import StatefulSets
from drillbook.sandbox.control.controllers.taints import TaintEvictions
from drillbook.sandbox.control.registry import Registry

CONTROLLERS: tuple[type[Controller], ...] = (
    Scheduler,
    ReplicaSets,
    Deployments,
    ReleasePipeline,
    EndpointsOfServices,
    GarbageCollector,
    Namespaces,
    NodeLifecycle,
    TaintEvictions,
    PodsOfLostNodes,
    StatefulSets,
    LeaderWorkerSets,
    ArgoRollouts,
    AnalysisRuns,
    DaemonSets,
    Jobs,
    DisruptionBudgets,
    Autoscalers,
    CustomResourceCleanup,
    OldEvents,
)


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
