"""A control plane of the sandbox as a process of its own, for tests of what talks to it over HTTP.

Nothing runs its pods: the tests play scheduler and kubelet by writing pod status.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from drillbook.targets.kube import Kube

NAMESPACE = "llm"
LABELS = {"app.kubernetes.io/part-of": "vllm-stack", "app.kubernetes.io/component": "serving-engine"}


class ControlPlane:
    """Start, kill and start again; its store stays."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "test",
                    "clusters": [{"name": "test", "cluster": {"server": self.url}}],
                    "users": [{"name": "test", "user": {}}],
                    "contexts": [
                        {"name": "test", "context": {"cluster": "test", "user": "test", "namespace": NAMESPACE}}
                    ],
                }
            )
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "drillbook.sandbox.control", "--state-dir", str(self.folder / "state")]
        self._process = subprocess.Popen([*command, "--port", str(self.port)], stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self._ready():
            assert self._process.poll() is None, "the control plane did not start"
            assert time.monotonic() < deadline, "the control plane did not become ready"
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL, as a lost machine would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Accept connections and answer nothing, until ``thaw``."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, number)
            os.kill(self._process.pid, signal.SIGCONT)
            self._process.wait()
            self._process = None

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


@contextlib.asynccontextmanager
async def denied(kube: Kube, **rule: list[str]) -> AsyncIterator[None]:
    """Take a permission away (``verbs``, ``resources``, ``namespaces``) and give it back."""
    place = "/api/v1/namespaces/kube-system/configmaps"
    data = {"denied": yaml.safe_dump([rule])}
    await kube.create(place, {"metadata": {"name": "sandbox-permissions"}, "data": data})
    try:
        yield
    finally:
        await kube.delete(f"{place}/sandbox-permissions")


@contextlib.contextmanager
def control_plane(folder: Path) -> Iterator[ControlPlane]:
    plane = ControlPlane(folder)
    plane.start()
    try:
        yield plane
    finally:
        plane.kill()


async def make_namespace(kube: Kube, name: str = NAMESPACE) -> None:
    await kube.create("/api/v1/namespaces", {"metadata": {"name": name}})


async def make_pod(kube: Kube, name: str, namespace: str = NAMESPACE, **changes: Any) -> dict[str, Any]:
    """A pod as if it ran: scheduled, its one container up and ready."""
    pod = await kube.create(
        f"/api/v1/namespaces/{namespace}/pods",
        {
            "metadata": {"name": name, "labels": changes.get("labels", LABELS)},
            "spec": {
                "nodeName": "gpu-node-a",
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "vllm",
                        "image": "vllm/vllm-openai:v0.32.0",
                        "resources": {"limits": {"nvidia.com/gpu": str(changes.get("gpus", 1))}},
                    }
                ],
            },
        },
    )
    return await set_status(kube, pod, changes.get("phase", "Running"), container_id=f"containerd://{name}-0")


async def set_status(kube: Kube, pod: dict[str, Any], phase: str, *, container_id: str) -> dict[str, Any]:
    running = phase == "Running"
    state = {"running": {"startedAt": "2026-01-01T00:00:00Z"}} if running else {"terminated": {"exitCode": 0}}
    status = {
        "phase": phase,
        "conditions": [{"type": "Ready", "status": str(running)}],
        "containerStatuses": [
            {
                "name": "vllm",
                "containerID": container_id,
                "ready": running,
                "restartCount": 0,
                "image": "vllm/vllm-openai:v0.32.0",
                "imageID": "",
                "state": state,
            }
        ],
    }
    meta = pod["metadata"]
    return await kube.patch(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/status", {"status": status})


@pytest.fixture(scope="session", autouse=True)
def main_loop() -> Iterator[None]:
    """A loop of the main thread that is closed at the end; pytest-asyncio would make one and leave it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest.fixture(scope="session")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


@pytest.fixture
def own_plane(tmp_path: Path) -> Iterator[ControlPlane]:
    """One that the test may kill."""
    with control_plane(tmp_path) as plane:
        yield plane


@pytest.fixture
async def kube(shared_plane: ControlPlane) -> AsyncIterator[Kube]:
    async with await Kube.from_kubeconfig(shared_plane.kubeconfig) as kube:
        yield kube


@pytest.fixture
async def namespace(kube: Kube) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    await make_namespace(kube, name)
    return name
