"""A fleet of hollow engines: as many pods as one likes, of the production-stack's labels, without a process."""

from __future__ import annotations

from drillbook.sandbox.kube import Json, Kube
from drillbook.sandbox.node.hollow import LABEL

NAMESPACE = "fleet"
DEPLOYMENT = "engines"
_PODS_A_NODE = 2000
"""More than any real node holds: each costs the agent a lease and a watch, and nobody drills these nodes' size."""
_LABELS = {
    "model": "fleet",
    "app.kubernetes.io/component": "serving-engine",
    "app.kubernetes.io/part-of": "vllm-stack",
}


async def add(api_url: str, pods: int) -> None:
    """Create the fleet in a sandbox that is up. Its pods take some seconds for every thousand.

    :raises PreflightError: there is one already.
    :raises UnreachableError: the API server does not answer.
    """
    kube = Kube(api_url)
    for obj in objects(pods):
        await kube.create(obj)


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
