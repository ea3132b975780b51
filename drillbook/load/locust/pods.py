"""Locust's master and workers as pods of the target's cluster, where one machine cannot send enough.

The pods are made of the helper's image and hold nothing but their place: what runs in them is exec'd, takes its orders
and gives its lines over that stream, as a child of the runner does over its pipes. So pods need not reach the runner;
workers reach their master, which is a pod like them, and the target. A stream that breaks off ends what it started.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
from urllib.parse import urlsplit

import msgspec

from drillbook.errors import DrillbookError
from drillbook.load import prompts
from drillbook.load.child import Process
from drillbook.load.config import GeneratorConfig
from drillbook.load.locust import clocks
from drillbook.load.locust.config import MASTER, LocustConfig
from drillbook.load.locust.remote import Remote
from drillbook.model.experiment import LoadSpec
from drillbook.model.plan import Call, Permission
from drillbook.model.undo import ObjectRef, UndoOperation
from drillbook.targets import helper, paths
from drillbook.targets.helper import Json
from drillbook.targets.target import Target

START_SECONDS = 120.0
"""A pod is scheduled and its image pulled; a node may have to be made for it first."""
MARGIN = 300.0
"""Seconds beyond twice what a run takes at most, after which the pods end by themselves, whatever became of it."""
COMPONENT = "load"
ASKS = {"cpu": "250m", "memory": "256Mi"}
"""What a pod requests. It has no limits: a generator that is throttled lags, and blames the target for it."""


class Pods:
    """The pods of one run's load. ``undo`` is written down before they are made."""

    def __init__(self, target: Target, manifests: dict[str, Json], url: str) -> None:
        self.url = url
        """Of the target, as pods reach it."""
        self._target, self._manifests = target, manifests
        self._made: dict[str, ObjectRef] = {}
        self._python = target.spec.helper.python

    @classmethod
    async def of(cls, spec: LoadSpec, target: Target, *, run_id: str, seconds: float) -> Pods:
        """What the load needs; nothing is made yet. ``seconds``: how long the run takes at most.

        :raises UnreachableError: it is not known where pods reach the target.
        """
        url = await target.endpoint_inside()
        names = (MASTER, *(str(number) for number in range(1, spec.workers + 1)))
        return cls(target, {name: manifest(target, name, url, run_id, 2 * seconds + MARGIN) for name in names}, url)

    @property
    def calls(self) -> tuple[Call, ...]:
        """Their creation, for a plan."""
        return tuple(helper.call(each) for each in self._manifests.values())

    @property
    def permissions(self) -> tuple[Permission, ...]:
        """What making, starting and ending them takes."""
        namespace = self._target.namespace
        execs = tuple(
            Permission(verb=verb, group="", resource="pods", subresource="exec", namespace=namespace)
            for verb in ("get", "create")
        )
        return (*helper.permissions(self._manifests[MASTER]), *execs)

    @property
    def undo(self) -> tuple[UndoOperation, ...]:
        """What removes them."""
        return tuple(helper.undo(each) for each in self._manifests.values())

    async def check(self) -> None:
        """Whether the target would take such a pod; nothing is made.

        :raises UnsupportedError: it would not.
        """
        await helper.check(self._target, self._manifests[MASTER])

    async def begin(self) -> str:
        """Make them all and wait until each has reached the target; the address of the master's.

        :raises DrillbookError: one is refused, does not start, or does not reach the target.
        """
        made = await asyncio.gather(*map(self._make, self._manifests), return_exceptions=True)
        for error in made:  # once all have come or failed: of one that is cut off nobody knows whether it is there
            if error is not None:
                raise error
        master = await self._target.kube.get(paths.of(self._made[MASTER]))
        return str(master["status"]["podIP"])

    async def launch(self, module: str, config: GeneratorConfig) -> Process:
        """Start one process in its pod, on the runner's clock.

        :raises DrillbookError: its pod is gone, or exec is refused.
        """
        assert isinstance(config, LocustConfig)
        pod = self._made[config.writer.rpartition("-")[2]]
        clock = await clocks.compare(self._target.kube, pod, self._python)
        sends = bool(config.master)
        told = msgspec.structs.replace(
            config,
            folder="",
            boot=clock.kept,
            ahead=clock.ahead,
            rows=tuple(prompts.read(config.prompts)) if sends and config.prompts.endswith(".jsonl") else (),
        )
        process = await self._target.kube.process(pod, helper.CONTAINER, (self._python, "-m", module))
        process.write(msgspec.json.encode(told) + b"\n")
        return Remote(self._target.kube, pod, process, config, clock, self._python)

    async def end(self) -> None:
        """Remove them. What resists is left to the run's undo, which looks again and tells."""
        gone = [helper.stop(self._target, ref) for ref in self._made.values()]
        for error in await asyncio.gather(*gone, return_exceptions=True):
            if error is not None and not isinstance(error, DrillbookError):
                raise error

    async def _make(self, name: str) -> None:
        self._made[name] = ref = await helper.start(self._target, self._manifests[name])
        await helper.said(self._target, ref, START_SECONDS)


def manifest(target: Target, name: str, url: str, run_id: str, seconds: float) -> Json:
    """One pod; what ``target.helper`` says of the image and the pod holds for it too, but it asks for no rights."""
    settings = target.spec.helper
    parts = urlsplit(url)
    reached = {"host": parts.hostname, "port": parts.port or (443 if parts.scheme == "https" else 80)}
    labels = helper.labels(COMPONENT, run_id)
    pod: Json = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 5,
        "activeDeadlineSeconds": math.ceil(seconds) + helper.GRACE,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": labels},
            }
        ],
        "containers": [
            {
                "name": helper.CONTAINER,
                "image": settings.image or helper.IMAGE,
                "command": [settings.python, "-m", "drillbook.helper"],
                "args": ["--seconds", f"{seconds:g}", "hold", json.dumps(reached)],
                "resources": {"requests": ASKS},
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            }
        ],
    }
    mark = hashlib.blake2b(run_id.encode(), digest_size=5).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"drillbook-load-{mark}-{name}", "namespace": target.namespace, "labels": labels},
        "spec": helper.merge(pod, helper.without_rights(settings.pod)),
    }
