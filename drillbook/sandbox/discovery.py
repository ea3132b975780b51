"""Tells Prometheus what to scrape: writes the namespace's pods as a file for ``file_sd_configs``, once a second.

Debian's Prometheus is built without discovery of its own for Kubernetes (``kubernetes_sd_configs`` is refused, 2.42).
A pod that is Running is a target with each of its ports of a known name. Run beside Prometheus as
``python -m drillbook.sandbox.discovery NAMESPACE FILE``; the API server is the one of ``$KUBECONFIG``.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

from drillbook.errors import UnreachableError
from drillbook.sandbox.kube import Json, Kube

EVERY = 1.0
PORTS = frozenset({"container-port", "http", "metrics"})
"""Names of the ports that serve ``/metrics`` in the sandbox's manifests."""


def targets(pods: list[Json]) -> list[Json]:
    """The groups of targets, each with the labels that rules and queries go by."""
    return [_target(pod, port["containerPort"]) for pod in pods if _runs(pod) for port in _ports(pod)]


def _runs(pod: Json) -> bool:
    status = pod.get("status") or {}
    going = pod["metadata"].get("deletionTimestamp")
    return bool(status.get("phase") == "Running" and status.get("podIP") and not going)


def _ports(pod: Json) -> list[Json]:
    return [
        port
        for container in pod["spec"]["containers"]
        for port in container.get("ports") or ()
        if port.get("name") in PORTS
    ]


def _target(pod: Json, port: int) -> Json:
    meta: dict[str, Any] = pod["metadata"]
    labels = {
        "namespace": meta["namespace"],
        "pod": meta["name"],
        "node": pod["spec"].get("nodeName", ""),
        "component": (meta.get("labels") or {}).get("app.kubernetes.io/component", ""),
    }
    return {"targets": [f"{pod['status']['podIP']}:{port}"], "labels": labels}


async def follow(api: str, namespace: str, file: Path) -> None:
    """Write the file until cancelled. While the API server is away, what was last known stands."""
    kube, written = Kube(api), ""
    while True:
        try:
            text = json.dumps(targets(await kube.items(f"/api/v1/namespaces/{namespace}/pods")))
        except UnreachableError:
            text = written
        if text != written:
            draft = file.with_suffix(".new")
            draft.write_text(text, encoding="utf-8")
            draft.replace(file)
            written = text
        await asyncio.sleep(EVERY)


if __name__ == "__main__":
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text(encoding="utf-8"))
    asyncio.run(follow(config["clusters"][0]["cluster"]["server"], sys.argv[1], Path(sys.argv[2])))
