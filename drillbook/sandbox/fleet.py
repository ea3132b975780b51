"""A fleet of hollow engines: as many pods as one likes, of the production-stack's labels, without a process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from drillbook import clock
from drillbook.errors import PreflightError, UnreachableError
from drillbook.sandbox.kube import Json, Kube
from drillbook.sandbox.node.hollow import LABEL

NAMESPACE = "fleet"
DEPLOYMENT = "engines"
_PLACE = f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{DEPLOYMENT}"
_PODS_A_NODE = 2000
"""More than any real node holds: each costs the agent a lease and a watch, and nobody drills these nodes' size."""
_LABELS = {
    "model": "fleet",
    "app.kubernetes.io/component": "serving-engine",
    "app.kubernetes.io/part-of": "vllm-stack",
}


async def resize(api_url: str, pods: int, on_progress: Callable[[str], None] = lambda _line: None) -> None:
    """Give a sandbox that is up a fleet of so many pods, 0 for none, and wait until all are available.

    It takes some seconds for every thousand.

    :raises PreflightError: the API server refuses, or they do not become available within 30 s and 60 s a thousand.
    :raises UnreachableError: it does not answer.
    """
    kube, deadline = Kube(api_url), clock.monotonic() + 30 + pods * 0.06
    for obj in objects(pods) if pods else ():
        await kube.create(obj, or_leave=True)
    if not await kube.merge(_PLACE, {"spec": {"replicas": pods}}):
        return  # none were wanted, and there are none
    told = -1
    while (there := await _counted(kube)) != (pods, pods):
        if clock.monotonic() > deadline:
            raise PreflightError(f"after a minute and more, {there[1]} of {pods} hollow pods are available")
        if there[0] >= 0 and there[1] // 1000 != told:
            told = there[1] // 1000
            on_progress(f"{there[1]} of {pods} hollow pods are available")
        await asyncio.sleep(0.3)


async def _counted(kube: Kube) -> tuple[int, int]:
    """Pods of the fleet, and those of them that are available."""
    with contextlib.suppress(UnreachableError):  # one that makes thousands of pods may be late for once
        for deployment in await kube.items(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"):
            status = deployment.get("status", {})
            if status.get("observedGeneration") == deployment["metadata"]["generation"]:
                return status.get("replicas", 0), status.get("availableReplicas", 0)
    return -1, 0


def objects(pods: int) -> list[Json]:
    """Nodes enough for ``pods`` engines of one GPU each, and the Deployment of them, in a namespace of their own."""
    spec = {
        "nodeSelector": {LABEL: "true"},
        "tolerations": [{"key": LABEL, "operator": "Exists"}],
        "containers": [
            {
                "name": "vllm",
                "image": "vllm/vllm-openai:v0.32.0",
                "command": ["vllm", "serve"],
                "args": ["/models/fleet", "--port=8000"],
                "ports": [{"name": "container-port", "containerPort": 8000}],
                "resources": {"limits": {"nvidia.com/gpu": "1"}},
            }
        ],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT, "namespace": NAMESPACE},
        "spec": {
            "replicas": pods,
            "selector": {"matchLabels": {"model": "fleet"}},
            "template": {"metadata": {"labels": _LABELS}, "spec": spec},
        },
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    return [namespace, *(_node(number) for number in range(-(-pods // _PODS_A_NODE))), deployment]


def _node(number: int) -> Json:
    room = {"cpu": "100k", "memory": "1Pi", "pods": str(_PODS_A_NODE), "nvidia.com/gpu": str(_PODS_A_NODE)}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": f"hollow-{number}", "labels": {LABEL: "true"}},
        "spec": {"taints": [{"key": LABEL, "value": "true", "effect": "NoSchedule"}]},
        "status": {"capacity": room, "allocatable": room},
    }
