"""One engine of real vLLM over two pods of a real cluster, labelled as a group of a LeaderWorkerSet.

That cluster has neither LeaderWorkerSets nor DNS: the leader is started first, and its worker is told its address.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import vllm_cluster
import yaml

from drillbook.sandbox import images, stack, tiny_model
from drillbook.targets import paths
from drillbook.targets.kube import Kube

Json = dict[str, Any]
NAMESPACE, LEADER, WORKER = "ranks", "vllm-0", "vllm-0-1"
MANIFESTS = vllm_cluster.MANIFESTS.with_name("distributed.yaml")
_LWS = "leaderworkerset.sigs.k8s.io/"


def pod(name: str, vllm_python: str, model: Path, master: str = "") -> Json:
    """The leader, or (with its address) the worker, as the sandbox's own manifest has it."""
    objects = yaml.safe_load_all(MANIFESTS.read_text(encoding="utf-8"))
    group = next(each for each in objects if each["kind"] == "LeaderWorkerSet")["spec"]["leaderWorkerTemplate"]
    template = json.loads(json.dumps(group["leaderTemplate" if name == LEADER else "workerTemplate"]))
    spec = template["spec"]
    (container,) = spec["containers"]
    container["command"] = [vllm_python, "-P", str(Path(images.__file__).with_name("vllm_launcher.py")), "serve"]
    container["args"] = [
        word.replace("$(LWS_LEADER_ADDRESS)", master).replace("$(LWS_WORKER_INDEX)", "1") for word in container["args"]
    ]
    container["env"] += [{"name": key, "value": value} for key, value in images._VLLM_ENVIRONMENT.items()]
    container["resources"]["requests"] |= {"cpu": "300m", "memory": "256Mi"}
    folders = vllm_cluster.environments(vllm_python)
    spec["containers"] = [vllm_cluster.on_host(container, folders)]
    spec["volumes"][0]["hostPath"]["path"] = str(model)
    spec["volumes"] += vllm_cluster.volumes(folders)
    index = "0" if name == LEADER else "1"
    labels = {_LWS + "name": "vllm", _LWS + "group-index": "0", _LWS + "worker-index": index}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
        "spec": spec | {"restartPolicy": "Always"},
    }


async def up(kubeconfig: Path, vllm_python: str, folder: Path) -> str:
    """Bring it up and wait until it answers; its URL."""
    model = folder / stack.MODEL
    model.mkdir(parents=True, exist_ok=True)
    tiny_model.write(model)
    pods = paths.pods(NAMESPACE)
    async with await Kube.from_kubeconfig(kubeconfig) as kube, asyncio.timeout(vllm_cluster.READY_SECONDS):
        await kube.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        while await kube.find(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default") is None:
            await asyncio.sleep(0.2)
        service = {
            "metadata": {"name": "ranks"},  # not `vllm`: its variable VLLM_PORT would be taken for vLLM's own
            "spec": {"ports": [{"port": 8080}], "selector": {_LWS + "name": "vllm", _LWS + "worker-index": "0"}},
        }
        made = await kube.create(paths.collection("v1", "services", NAMESPACE), service)
        await kube.create(pods, pod(LEADER, vllm_python, model))
        while not (address := (await kube.get(f"{pods}/{LEADER}")).get("status", {}).get("podIP")):
            await asyncio.sleep(0.2)
        await kube.create(pods, pod(WORKER, vllm_python, model, address))
        while not await _is_ready(kube):
            await asyncio.sleep(1.0)
        return f"http://{made['spec']['clusterIP']}:8080"


async def _is_ready(kube: Kube) -> bool:
    found = await kube.list(paths.pods(NAMESPACE))
    states = [{row["type"]: row["status"] for row in each["status"].get("conditions", [])} for each in found]
    return [state.get("Ready") for state in states] == ["True", "True"]


async def down(kubeconfig: Path) -> None:
    """Remove it, and wait until it is gone."""
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        place = f"/api/v1/namespaces/{NAMESPACE}"
        if await kube.find(place) is not None:
            await kube.delete(place)
        async with asyncio.timeout(180):
            while await kube.find(place) is not None:
                await asyncio.sleep(1.0)
