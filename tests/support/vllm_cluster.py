"""Real vLLM behind vllm-router on a real cluster: the sandbox's own manifests, fitted to a node without a registry.

The cluster's one useful image is of empty folders, into which pods mount their node's userland, so that it runs what is
installed on this machine: a virtual environment with vLLM (``DRILLBOOK_VLLM_PYTHON``), and drillbook's own. As a
program: ``python tests/support/vllm_cluster.py up|down KUBECONFIG``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

import drillbook
from drillbook.sandbox import images, tiny_model
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError
from drillbook.targets.kube import Kube

Json = dict[str, Any]
REPOSITORY = Path(drillbook.__file__).parents[1]
MANIFESTS = REPOSITORY / "drillbook" / "sandbox" / "manifests" / "production-stack.yaml"
IMAGE = "local/host:1"
USERLAND = ("/usr", "/bin", "/lib", "/lib64")
NAMESPACE, MODEL = "llm", "tiny-llama"
ENGINES, ROUTER_SERVICE = "vllm-tiny-llama-deployment-vllm", "vllm-router-service"
READY_SECONDS = 300.0
PLURALS = {
    "Namespace": "namespaces",
    "Service": "services",
    "Deployment": "deployments",
    "ServiceAccount": "serviceaccounts",
    "Role": "roles",
    "RoleBinding": "rolebindings",
}


def environments(*pythons: str) -> tuple[str, ...]:
    """Folders that the pods need of this machine: its userland, these virtual environments and their interpreters."""
    found = [*USERLAND, str(REPOSITORY)]
    for python in pythons:
        found += [str(Path(python).absolute().parents[1]), str(Path(python).resolve().parents[1])]
    return tuple(dict.fromkeys(path for path in found if not path.startswith("/usr/")))


def on_host(container: Json, folders: tuple[str, ...]) -> Json:
    """A container of the image of empty folders, with the node's own mounted into it."""
    mounts = [{"name": _name(path), "mountPath": path, "readOnly": True} for path in folders]
    env = [{"name": "HOME", "value": "/tmp"}, {"name": "USER", "value": "root"}, {"name": "LANG", "value": "C.UTF-8"}]
    return container | {
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "volumeMounts": [*container.get("volumeMounts", []), *mounts],
        "env": [*container.get("env", []), *env],
    }


def volumes(folders: tuple[str, ...]) -> list[Json]:
    return [{"name": _name(path), "hostPath": {"path": path}} for path in folders]


def helper_settings() -> Json:
    """``target.helper`` of an experiment for this cluster."""
    folders = environments(sys.executable)
    container = on_host({"name": "helper"}, folders)
    return {"image": IMAGE, "python": sys.executable, "pod": {"containers": [container], "volumes": volumes(folders)}}


def objects(vllm_python: str, model: Path) -> list[Json]:
    """The manifests, for two engines on this node."""
    loaded = [json.loads(json.dumps(each)) for each in yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8"))]
    for obj in loaded:
        if obj["kind"] != "Deployment":
            continue
        spec = obj["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        container["resources"].setdefault("requests", {})["cpu"] = "300m"  # two cores hold it all, a second set too
        container["resources"]["requests"]["memory"] = "256Mi"
        if obj["metadata"]["name"] == ENGINES:
            obj["spec"]["replicas"] = 2
            spec["volumes"][0]["hostPath"]["path"] = str(model)
            folders = environments(vllm_python)
            container["command"] = [
                vllm_python,
                "-P",
                str(Path(images.__file__).with_name("vllm_launcher.py")),
                "serve",
            ]
            container["env"] = [{"name": key, "value": value} for key, value in images._VLLM_ENVIRONMENT.items()]
        else:
            folders = environments(sys.executable)
            container["command"] = [sys.executable, "-m", "vllm_router.launch_router"]
            spec["serviceAccountName"] = "vllm-router"
            # There is no DNS on that cluster, and the router's client asks for this name.
            spec["hostAliases"] = [{"ip": "10.96.0.1", "hostnames": ["kubernetes.default.svc"]}]
        spec["containers"] = [on_host(container, folders)]
        spec["volumes"] = [*spec.get("volumes", []), *volumes(folders)]
    return [*loaded[:1], *_account(), *loaded[1:]]


def _account() -> list[Json]:
    """The router watches the engines' pods."""
    meta = {"name": "vllm-router", "namespace": NAMESPACE}
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": "Role", "name": meta["name"]},
            "subjects": [{"kind": "ServiceAccount", **meta}],
        },
    ]


async def up(kubeconfig: Path, vllm_python: str, folder: Path) -> str:
    """Bring it up and wait until the router answers for the model; its URL."""
    model = folder / MODEL
    model.mkdir(parents=True, exist_ok=True)
    tiny_model.write(model)
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        for obj in objects(vllm_python, model):
            place = paths.collection(obj["apiVersion"], PLURALS[obj["kind"]], obj["metadata"].get("namespace", ""))
            try:
                await kube.create(place, obj)
            except ConflictError:
                continue
        await whole(kube)
        service = await kube.get(f"{paths.collection('v1', 'services', NAMESPACE)}/{ROUTER_SERVICE}")
        return f"http://{service['spec']['clusterIP']}:80"


async def whole(kube: Kube) -> None:
    """Wait until every Deployment has all its replicas, of its newest template, and no pod besides."""
    async with asyncio.timeout(READY_SECONDS):
        while lacking := await _lacking(kube):
            sys.stdout.write(f"{lacking}\n")
            await asyncio.sleep(2.0)


async def _lacking(kube: Kube) -> str:
    for each in await kube.list(paths.collection("apps/v1", "deployments", NAMESPACE)):
        wanted, status = each["spec"]["replicas"], each.get("status", {})
        counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
        if counts != [wanted] * 3 or status.get("observedGeneration") != each["metadata"]["generation"]:
            return f"{each['metadata']['name']}: {counts} of {wanted}"
    pods = await kube.list(paths.pods(NAMESPACE))
    return ", ".join(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" in pod["metadata"])


async def settled(kubeconfig: Path) -> None:
    """Wait until everything is whole."""
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        await whole(kube)


async def nothing_is_left(kubeconfig: Path) -> None:
    """See that the cluster has nothing of drillbook's, and its nodes take pods."""
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        for api, plural in (("v1", "configmaps"), ("v1", "pods")):
            place = paths.collection(api, plural, NAMESPACE)
            assert await kube.list(place, labels="app.kubernetes.io/managed-by=drillbook") == []
        for node in await kube.list("/api/v1/nodes"):
            assert not node["spec"].get("unschedulable")
            assert not node["spec"].get("taints")
        lease = await kube.find(f"{paths.collection('coordination.k8s.io/v1', 'leases', NAMESPACE)}/drillbook-target")
        assert lease is None or not lease["spec"].get("holderIdentity")


async def down(kubeconfig: Path) -> None:
    """Remove it, and wait until it is gone."""
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        place = f"/api/v1/namespaces/{NAMESPACE}"
        if await kube.find(place) is not None:
            await kube.delete(place)
        async with asyncio.timeout(180):
            while await kube.find(place) is not None:
                await asyncio.sleep(1.0)


def _name(path: str) -> str:
    return "host" + "".join(each if each.isalnum() else "-" for each in path.lower())[-50:].rstrip("-")


if __name__ == "__main__":
    action, given = sys.argv[1], Path(sys.argv[2])
    if action == "down":
        asyncio.run(down(given))
    else:
        where = Path(tempfile.gettempdir()) / "drillbook-cluster-models"
        sys.stdout.write(f"{asyncio.run(up(given, os.environ['DRILLBOOK_VLLM_PYTHON'], where))}\n")
