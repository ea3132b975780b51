"""A control plane over real HTTP in the test's own loop, a small client of it, and a kubelet that only pretends."""

import asyncio
import contextlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from drillbook import clock
from drillbook.sandbox.control.plane import ControlPlane
from drillbook.sandbox.control.settings import Settings

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class RefusedError(AssertionError):
    """The API said no: ``status`` is its Status object."""

    def __init__(self, code: int, status: Any) -> None:
        super().__init__(f"{code} {status}")
        self.code = code
        self.status = status


@dataclass
class Api:
    """Plain JSON over HTTP; paths are below the server."""

    session: aiohttp.ClientSession
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    def acting_as(self, user: str) -> "Api":
        return replace(self, headers={"Impersonate-User": user})

    async def call(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: Any) -> Any:
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": kind, **self.headers}
        async with self.session.request(method, self.url + path, data=data, params=query, headers=headers) as answer:
            value = await answer.json()
        if answer.status >= 400:
            raise RefusedError(answer.status, value)
        return value

    async def get(self, path: str, **query: Any) -> Any:
        return await self.call("GET", path, **query)

    async def post(self, path: str, body: Any, **query: Any) -> Any:
        return await self.call("POST", path, body, **query)

    async def put(self, path: str, body: Any, **query: Any) -> Any:
        return await self.call("PUT", path, body, **query)

    async def patch(self, path: str, body: Any, kind: str = MERGE, **query: Any) -> Any:
        return await self.call("PATCH", path, body, kind, **query)

    async def delete(self, path: str, body: Any = None, **query: Any) -> Any:
        return await self.call("DELETE", path, body, **query)

    async def items(self, path: str, **query: Any) -> list[Any]:
        return (await self.get(path, **query))["items"]

    async def exists(self, path: str) -> bool:
        async with self.session.get(self.url + path, headers=self.headers) as answer:
            assert answer.status in (200, 404), await answer.text()
            return answer.status == 200

    @contextlib.asynccontextmanager
    async def watch(self, path: str, **query: Any) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
        """Within it, each call of the given function waits for the next event."""
        async with self.session.get(self.url + path, params={"watch": "true", **query}, headers=self.headers) as answer:
            assert answer.status == 200, await answer.text()

            async def following() -> Any:
                async with asyncio.timeout(60):
                    line = await answer.content.readline()
                return json.loads(line) if line else None

            yield following

    async def until(self, what: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
        """The first truthy answer."""
        deadline = clock.monotonic() + seconds
        while not (found := await what()):
            if clock.monotonic() > deadline:
                pytest.fail(f"not within {seconds} s: {what}")
            await asyncio.sleep(0.005)
        return found

    async def until_it(self, path: str, test: Callable[[Any], Any]) -> Any:
        """The object at ``path``, once ``test`` holds of it."""

        async def look() -> Any:
            found = await self.get(path)
            return test(found) and found

        return await self.until(look)


class Kubelet:
    """Registers nodes, makes assigned pods run, and confirms deletions. ``judge`` may say what becomes of a pod."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.judge: Callable[[Any], str] = lambda pod: "ready"
        self.confirms = True
        self._tasks: list[asyncio.Task[None]] = []
        self._ips = iter(range(1, 250))

    async def add_node(self, name: str, gpus: int = 8, **labels: str) -> None:
        room = {"cpu": "16", "memory": "64Gi", "pods": "110", "nvidia.com/gpu": str(gpus)}
        await self.api.post(
            "/api/v1/nodes",
            {
                "metadata": {"name": name, "labels": labels},
                "status": {
                    "capacity": room,
                    "allocatable": room,
                    "conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                },
            },
        )

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(self._run()))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        async with self.api.session.get(self.api.url + "/api/v1/pods", params={"watch": "true"}) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] != "DELETED":
                    with contextlib.suppress(RefusedError):
                        await self._sync(event["object"])

    async def _sync(self, pod: Any) -> None:
        metadata = pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        if metadata.get("deletionTimestamp"):
            if pod["spec"].get("nodeName") and self.confirms:
                await self.api.delete(path, {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}})
            return
        if not pod["spec"].get("nodeName") or pod["status"]["phase"] != "Pending" or "podIP" in pod["status"]:
            return
        await self.set_state(path, self.judge(pod))

    async def set_state(self, path: str, state: str) -> None:
        """``ready``, ``unready``, ``succeeded``, ``failed`` or ``pending``."""
        if state == "pending":
            return
        now = "2026-01-01T00:00:00Z"
        phase = {"ready": "Running", "unready": "Running", "succeeded": "Succeeded", "failed": "Failed"}[state]
        ready = str(state == "ready")
        rows = [{"type": kind, "status": ready, "lastTransitionTime": now} for kind in ("Ready", "ContainersReady")]
        status = {"phase": phase, "podIP": f"10.1.0.{next(self._ips)}", "conditions": rows, "startTime": now}
        await self.api.patch(path + "/status", {"status": status}, STRATEGIC)


@pytest.fixture
def settings() -> Settings:
    """Tests override this fixture to change a timing."""
    return Settings(node_monitor_grace_period=3600)


@pytest.fixture
async def plane(tmp_path: Path, settings: Settings) -> AsyncIterator[ControlPlane]:
    made = ControlPlane(tmp_path / "store.sqlite", settings)
    made.start()
    yield made
    await made.close()


@pytest.fixture
async def url(plane: ControlPlane) -> AsyncIterator[str]:
    runner = web.AppRunner(plane.app, access_log=None, handler_cancellation=True, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


@pytest.fixture
async def api(url: str) -> AsyncIterator[Api]:
    async with aiohttp.ClientSession() as session:
        yield Api(session, url)


@pytest.fixture
async def kubelet(api: Api) -> AsyncIterator[Kubelet]:
    """Two nodes with 4 GPUs each, and somebody who runs their pods."""
    made = Kubelet(api)
    await made.add_node("node-a", 4, zone="a")
    await made.add_node("node-b", 4, zone="b")
    await made.start()
    yield made
    await made.close()


def pod(name: str = "", gpus: int = 0, **labels: str) -> Any:
    container: Any = {"name": "vllm", "image": "sim:1"}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    return {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}


def deployment(name: str, replicas: int = 3, image: str = "sim:1", **spec: Any) -> Any:
    template = pod("", app=name)
    del template["metadata"]["name"]
    template["spec"]["containers"][0]["image"] = image
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template, **spec},
    }


@pytest.fixture
def make_pod() -> Callable[..., Any]:
    return pod


@pytest.fixture
def make_deployment() -> Callable[..., Any]:
    return deployment


class Kubectl:
    """kubectl against the plane."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment

    async def __call__(self, *words: str, stdin: str = "", code: int = 0) -> str:
        """Its output; fails on an exit code other than the expected one."""
        process = await self._start(words, asyncio.subprocess.STDOUT)
        async with asyncio.timeout(60):
            out, _ = await process.communicate(stdin.encode())
        assert process.returncode == code, f"kubectl {' '.join(words)}: {process.returncode}\n{out.decode()}"
        return out.decode()

    @contextlib.asynccontextmanager
    async def following(self, *words: str) -> AsyncIterator[Callable[[], Awaitable[list[str]]]]:
        """Within it, each call of the given function waits for the next line: its words."""
        process = await self._start(words, asyncio.subprocess.DEVNULL)
        lines = process.stdout
        assert lines is not None

        async def row() -> list[str]:
            line = await lines.readline()
            assert line, "kubectl has ended"
            return line.decode().split()

        yield row
        process.kill()
        await process.communicate()

    async def _start(self, words: tuple[str, ...], stderr: int) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            "kubectl", *words, env=self._environment, stdin=pipe, stdout=pipe, stderr=stderr
        )


@pytest.fixture
async def kubectl(url: str, tmp_path: Path) -> Kubectl:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    config = tmp_path / "kubeconfig"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "sandbox",
                "clusters": [{"name": "sandbox", "cluster": {"server": url}}],
                "users": [{"name": "sandbox", "user": {}}],
                "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "sandbox"}}],
            }
        )
    )
    return Kubectl({**os.environ, "KUBECONFIG": str(config), "KUBECACHEDIR": str(tmp_path / "cache")})
