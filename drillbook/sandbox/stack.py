"""What runs in a sandbox: the manifests of one stack, fitted to this sandbox, and whether all of it is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

from drillbook.errors import UnreachableError
from drillbook.sandbox import tiny_model
from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.kube import Json, Kube, fetch

NAMESPACE = "llm"
MODEL = "tiny-llama"
ROUTER_SERVICE = "vllm-router-service"
ENGINE_IMAGE = "vllm/vllm-openai"
_WORKLOADS = {
    f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments": "availableReplicas",
    f"/apis/leaderworkerset.x-k8s.io/v1/namespaces/{NAMESPACE}/leaderworkersets": "readyReplicas",
    f"/apis/argoproj.io/v1alpha1/namespaces/{NAMESPACE}/rollouts": "availableReplicas",
}
"""Where a stack's workloads are, and how many of their replicas are there by which field of their status."""
FALLBACK = "fallback-model"
"""The Deployment of a model that stands by for the engines, and is none of them."""


@dataclass(frozen=True)
class Layout:
    """One stack that a sandbox can run: its manifests, and what is different in them."""

    manifests: tuple[str, ...]
    """Files of ``manifests``, in the order in which they are applied."""
    like: str
    """The stack of ``drillbook.targets`` whose labels its pods carry."""
    replicas: dict[str, int]
    """Engines (groups of pods, where an engine has several) unless the user says how many."""
    pods: int = 1
    """Pods of one engine."""
    front: str = ROUTER_SERVICE
    """The Service that users talk to."""
    words: tuple[tuple[str, str], ...] = ()
    """Words of the manifests, and what stands there instead."""

    settings: tuple[tuple[str, float], ...] = ()
    """Seconds that differ from a real cluster's, unless the user says which (see ``lifecycle.up``)."""

    @property
    def networked(self) -> bool:
        """Whether its pods find one another by name, which takes networks of their own."""
        return self.pods > 1 or self.front != ROUTER_SERVICE


_CANARY = """\
    canary:
      canaryService: vllm-engine-canary
      steps:
        - setWeight: 50
        - analysis:
            templates: [{templateName: engine-is-well}, {templateName: engine-answers-right}]
            args:
              - {name: canary-hash, valueFrom: {podTemplateHashValue: Latest}}
              - {name: service, value: vllm-engine-canary}
"""
_GUARDED = """\
    canary:
      canaryService: guardrail-gateway-canary
      steps:
        - setWeight: 50
        - pause: {duration: 5}
        - analysis: {templates: [{templateName: rails-hold}]}
"""
_BLUE_GREEN = """\
    blueGreen:
      activeService: vllm-engine-service
      previewService: vllm-engine-preview
      scaleDownDelaySeconds: 10
      abortScaleDownDelaySeconds: 5
      prePromotionAnalysis:
        templates: [{templateName: engine-answers-right}]
        args: [{name: service, value: vllm-engine-preview}]
"""


def _rollout(strategy: str) -> tuple[tuple[str, str], ...]:
    """The engines' Deployment as a Rollout."""
    return (
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: vllm-tiny-llama",
         "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: vllm-tiny-llama"),
        ("  progressDeadlineSeconds: 1200\n", "  progressDeadlineSeconds: 15\n  progressDeadlineAbort: true\n"),
        ("    type: RollingUpdate\n    rollingUpdate: {maxSurge: 100%, maxUnavailable: 0}\n", strategy),
    )  # fmt: skip


LAYOUTS = {
    "production-stack": Layout(("production-stack.yaml",), "production-stack", {"sim": 3, "vllm": 2}),
    "distributed": Layout(("distributed.yaml",), "leaderworkerset", {"sim": 1, "vllm": 1}, pods=2),
    "pipeline": Layout(
        ("distributed.yaml",), "leaderworkerset", {"sim": 1, "vllm": 1}, pods=2,
        words=(("--tensor-parallel-size=2", "--pipeline-parallel-size=2"),),
    ),
    "guardrailed": Layout(
        ("production-stack.yaml", "guardrailed.yaml"), "guardrailed", {"sim": 2, "vllm": 1},
        front="guardrail-gateway-service",
    ),
    "autoscaled": Layout(
        ("production-stack.yaml", "autoscaled.yaml"), "production-stack", {"sim": 2, "vllm": 1},
        settings=(("hpa_sync_period", 2.0), ("hpa_downscale_stabilization", 20)),
    ),
    "small-cache": Layout(
        ("production-stack.yaml",), "production-stack", {"sim": 2, "vllm": 1},
        words=(
            ("            - --max-num-seqs=64\n",
             "            - --max-num-seqs=64\n            - --num-gpu-blocks-override=161\n"),  # 2560 tokens
        ),
    ),
    "sticky": Layout(
        ("production-stack.yaml",), "production-stack", {"sim": 3, "vllm": 2},
        words=(("--policy=round_robin", "--policy=consistent_hash"),),
    ),
    "undoing": Layout(
        ("production-stack.yaml",), "production-stack", {"sim": 3, "vllm": 2},
        words=(
            ("  name: vllm-tiny-llama-deployment-vllm\n",
             "  name: vllm-tiny-llama-deployment-vllm\n  annotations: {drillbook.io/undo-after: progress-deadline}\n"),
            ("  progressDeadlineSeconds: 1200\n", "  progressDeadlineSeconds: 15\n"),
        ),
    ),
    "canary": Layout(
        ("production-stack.yaml", "canary.yaml", "known-answer.yaml"), "production-stack", {"sim": 2, "vllm": 2},
        words=_rollout(_CANARY),
    ),
    "blue-green": Layout(
        ("production-stack.yaml", "blue-green.yaml", "known-answer.yaml"), "production-stack", {"sim": 2, "vllm": 2},
        front="vllm-engine-service", words=_rollout(_BLUE_GREEN),
    ),
    "guarded-canary": Layout(
        ("production-stack.yaml", "guardrailed.yaml", "guarded-canary.yaml"), "guardrailed", {"sim": 2, "vllm": 1},
        front="guardrail-gateway-service",
        words=(
            ("apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: guardrail-gateway\n",
             "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata:\n  name: guardrail-gateway\n"),
            ("  replicas: 1\n  selector:\n    matchLabels: *gateway-labels\n",
             f"  replicas: 2\n  strategy:\n{_GUARDED}  selector:\n    matchLabels: *gateway-labels\n"),
        ),
    ),
}  # fmt: skip
"""What ``drillbook sandbox up --stack`` takes; the first is the default."""


def layout_like(stack: str) -> str | None:
    """The first layout with a target stack's labels."""
    return next((name for name, layout in LAYOUTS.items() if layout.like == stack), None)


def same(up: str, wanted: str, *, exactly: bool) -> bool:
    """Whether the layout that is up will do where ``wanted`` is asked for: that one, or one whose pods look alike."""
    return up == wanted or (not exactly and LAYOUTS[up].like == LAYOUTS[wanted].like)


def objects(config: SandboxConfig, replicas: int | None = None) -> list[Json]:
    """The manifests as objects, with this sandbox's number of engines and the folder of its model."""
    layout = LAYOUTS[config.stack]
    folder = files("drillbook.sandbox") / "manifests"
    text = "\n---\n".join((folder / name).read_text(encoding="utf-8") for name in layout.manifests)
    for word, instead in layout.words:
        text = text.replace(word, instead)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    result = [json.loads(json.dumps(obj)) for obj in yaml.load_all(text, Loader=loader)]  # no anchors shared
    for obj in result:
        if _is_engine(obj):
            obj["spec"]["replicas"] = layout.replicas[config.engine] if replicas is None else replicas
        elif obj["metadata"]["name"] == FALLBACK and config.engine != "sim":
            obj["spec"]["replicas"] = 0  # one more real engine would starve the others; scale it up where it is wanted
        for template in _templates(obj):
            for volume in template.get("volumes", []):
                if volume["name"] == "model":
                    volume["hostPath"]["path"] = str(config.path / "models" / MODEL)
        if not config.bridged:
            _share_the_machine(obj)
    return result


def _templates(obj: Json) -> Iterator[Json]:
    """The pod specs of a workload."""
    spec = obj.get("spec", {})
    group = spec.get("leaderWorkerTemplate", {})
    for template in (spec.get("template"), group.get("leaderTemplate"), group.get("workerTemplate")):
        if template:
            yield template["spec"]


def _is_engine(obj: Json) -> bool:
    return obj["metadata"]["name"] != FALLBACK and any(
        c["image"].startswith(ENGINE_IMAGE) for template in _templates(obj) for c in template["containers"]
    )


def _share_the_machine(obj: Json) -> None:
    """Without root: each pod may only take its own address, not all of them, and no Service a port below 1024."""
    if obj["kind"] == "Service":
        for port in obj["spec"]["ports"]:
            port["port"] += 8000 if port["port"] < 1024 else 0
    for container in (container for template in _templates(obj) for container in template["containers"]):
        container["args"] = [word.replace("0.0.0.0", "$(POD_IP)") for word in container.get("args", [])]  # noqa: S104


def write_model(config: SandboxConfig) -> None:
    """Write the model that real vLLM serves; the simulator only wants the folder."""
    folder = config.path / "models" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    if config.engine == "vllm":
        tiny_model.write(folder)


def replicas_of(manifests: list[Json]) -> int:
    """How many engines the manifests ask for."""
    return int(next(obj["spec"]["replicas"] for obj in manifests if _is_engine(obj)))


def kubeconfig(config: SandboxConfig, host: str) -> str:
    """A kubeconfig for the sandbox's API server as ``host`` reaches it."""
    name = f"drillbook-sandbox-{config.name}"
    document: dict[str, Any] = {
        "apiVersion": "v1", "kind": "Config", "current-context": name, "preferences": {},
        "clusters": [{"name": name, "cluster": {"server": f"http://{host}:{config.api_port}"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": NAMESPACE}}],
        "users": [{"name": name, "user": {}}],
    }  # fmt: skip
    return yaml.safe_dump(document, sort_keys=False)


async def endpoint(kube: Kube, front: str = ROUTER_SERVICE) -> str | None:
    """The base URL of the Service that users talk to, once it has an address."""
    try:
        services = await kube.items(f"/api/v1/namespaces/{NAMESPACE}/services")
    except UnreachableError:
        return None
    for service in services:
        if service["metadata"]["name"] == front and service["spec"].get("clusterIP"):
            return f"http://{service['spec']['clusterIP']}:{service['spec']['ports'][0]['port']}"
    return None


async def serves(url: str) -> bool:
    """Whether the router answers for the model."""
    try:
        status, content = await asyncio.to_thread(fetch, f"{url}/v1/models", timeout=2.0)
    except UnreachableError:
        return False
    return status == 200 and MODEL.encode() in content


async def trouble(kube: Kube) -> str:
    """Why a container keeps ending, with the end of its log; empty while none has ended more than twice."""
    for pod in await kube.items(f"/api/v1/namespaces/{NAMESPACE}/pods"):
        for row in pod.get("status", {}).get("containerStatuses") or []:
            if row.get("restartCount", 0) > 2:
                name = pod["metadata"]["name"]
                text = await kube.text(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/log?previous=true&tailLines=12")
                return f"container {row['name']} of pod {name} keeps ending. The end of its log:\n{text}"
    return ""


async def wants_engines(kube: Kube) -> bool:
    """False where all engines are scaled to 0: then no router is ever ready."""
    engines = [each for path in _WORKLOADS for each in await kube.items(path) if _is_engine(each)]
    return not engines or any(each["spec"]["replicas"] for each in engines)


async def missing(kube: Kube) -> list[str]:
    """What is not yet as the manifests say, in words; empty when all replicas and all groups are there."""
    rows = []
    for path, field in _WORKLOADS.items():
        for workload in await kube.items(path):
            wanted, there = workload["spec"]["replicas"], workload.get("status", {}).get(field, 0)
            if there < wanted:
                rows.append(f"{workload['metadata']['name']} has {there} of {wanted} replicas")
    return rows
