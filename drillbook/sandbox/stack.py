"""What runs in a sandbox: the production-stack manifests, fitted to this sandbox, and whether all of it is there."""

from __future__ import annotations

import asyncio
import json
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
ENGINES = "vllm-tiny-llama-deployment-vllm"
_DEFAULT_REPLICAS = {"sim": 3, "vllm": 2}


def objects(config: SandboxConfig, replicas: int | None = None) -> list[Json]:
    """The manifests as objects, with this sandbox's number of engines and the folder of its model."""
    text = (files("drillbook.sandbox") / "manifests" / "production-stack.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    result = [json.loads(json.dumps(obj)) for obj in yaml.load_all(text, Loader=loader)]  # no anchors shared
    for obj in result:
        if obj["metadata"]["name"] == ENGINES:
            obj["spec"]["replicas"] = _DEFAULT_REPLICAS[config.engine] if replicas is None else replicas
            obj["spec"]["template"]["spec"]["volumes"][0]["hostPath"]["path"] = str(config.path / "models" / MODEL)
        if not config.bridged:
            _share_the_machine(obj)
    return result


def _share_the_machine(obj: Json) -> None:
    """Without root: each pod may only take its own address, not all of them, and no Service a port below 1024."""
    if obj["kind"] == "Service":
        for port in obj["spec"]["ports"]:
            port["port"] += 8000 if port["port"] < 1024 else 0
    for container in obj.get("spec", {}).get("template", {}).get("spec", {}).get("containers", []):
        container["args"] = [word.replace("0.0.0.0", "$(POD_IP)") for word in container.get("args", [])]  # noqa: S104


def write_model(config: SandboxConfig) -> None:
    """Write the model that real vLLM serves; the simulator only wants the folder."""
    folder = config.path / "models" / MODEL
    folder.mkdir(parents=True, exist_ok=True)
    if config.engine == "vllm":
        tiny_model.write(folder)


def replicas_of(manifests: list[Json]) -> int:
    """How many engines the manifests ask for."""
    return int(next(obj["spec"]["replicas"] for obj in manifests if obj["metadata"]["name"] == ENGINES))


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


async def endpoint(kube: Kube) -> str | None:
    """The base URL of the router's Service, once it has an address."""
    try:
        services = await kube.items(f"/api/v1/namespaces/{NAMESPACE}/services")
    except UnreachableError:
        return None
    for service in services:
        if service["metadata"]["name"] == ROUTER_SERVICE and service["spec"].get("clusterIP"):
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


async def missing(kube: Kube) -> list[str]:
    """What is not yet as the manifests say, in words; empty when all replicas of all Deployments are available."""
    rows = []
    for deployment in await kube.items(f"/apis/apps/v1/namespaces/{NAMESPACE}/deployments"):
        wanted, there = deployment["spec"]["replicas"], deployment.get("status", {}).get("availableReplicas", 0)
        if there < wanted:
            rows.append(f"{deployment['metadata']['name']} has {there} of {wanted} replicas")
    return rows
