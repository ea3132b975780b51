"""A namespace of some cluster, all that happens in it, and pods that run in the sandbox and on a real kubelet alike.

The real cluster has no registry: its one useful image is of empty folders, into which a pod mounts its node's userland.
``DRILLBOOK_TEST_IMAGE`` names another image with ``sh`` and ``python3``, which then is used as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from drillbook import clock
from drillbook.targets import paths
from drillbook.targets.answers import NotFoundError
from drillbook.targets.kube import Kube

Json = dict[str, Any]
USERLAND = ("usr", "bin", "lib", "lib64")
OBEYS = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
"""A script that ends with 0 as soon as it is asked to."""
DEFIES = "trap '' TERM; while :; do sleep 0.1; done"
"""A script that only SIGKILL ends."""
SERVES = "exec python3 -u -c 'import http.server as h; h.test(h.SimpleHTTPRequestHandler, port=8000)'"
"""A script that answers HTTP on port 8000 (and, as process 1 without a handler, ignores SIGTERM)."""
_STREAM = aiohttp.ClientTimeout(total=None, sock_connect=5)


@dataclass(frozen=True)
class Seen:
    """One event of a watch, and when it came (seconds of the monotonic clock)."""

    at: float
    type: str
    obj: Json

    @property
    def name(self) -> str:
        return self.obj["metadata"]["name"]


class Story:
    """All that a watch of one collection has told since the stage was set. ``patience`` stretches every wait for it."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.seen: list[Seen] = []
        self._news = asyncio.Condition()

    async def follow(self, stream: AsyncIterator[Json]) -> None:
        async for event in stream:
            self.seen.append(Seen(clock.monotonic(), event["type"], event["object"]))
            async with self._news:
                self._news.notify_all()

    def of(self, name: str) -> list[Seen]:
        return [one for one in self.seen if one.name == name]

    async def until(self, match: Callable[[Seen], Any], *, within: float = 30.0) -> Seen:
        """The first event, also of the past, that matches; objects without what ``match`` looks for do not."""
        looked = 0
        try:
            async with asyncio.timeout(within * self._patience), self._news:
                while True:
                    for one in self.seen[looked:]:
                        if _holds(match, one):
                            return one
                    looked = len(self.seen)
                    await self._news.wait()
        except TimeoutError:
            last = json.dumps([one.obj.get("status") for one in self.seen[-3:]])[:3000]
            pytest.fail(f"not told within {within * self._patience:g} s; the last were {last}")


def _holds(match: Callable[[Seen], Any], one: Seen) -> bool:
    try:
        return bool(match(one))
    except (KeyError, IndexError, TypeError, StopIteration):
        return False


@dataclass
class Stage:
    """``stories`` are by plural: pods, events, endpoints, deployments, replicasets and, where there are, slices."""

    kube: Kube
    kubeconfig: str
    namespace: str
    simulated: bool
    version: str
    stories: dict[str, Story] = field(default_factory=dict)

    @property
    def pods(self) -> Story:
        return self.stories["pods"]

    def path(self, plural: str, name: str = "", api: str = "v1") -> str:
        return paths.collection(api, plural, self.namespace) + (f"/{name}" if name else "")

    async def create(self, plural: str, body: Json, api: str = "v1") -> Json:
        return await self.kube.create(self.path(plural, api=api), body)

    async def serves(self, *versions: str) -> str:
        """The first of these API versions that the cluster has; skips where it has none."""
        for version in versions:
            if await self.kube.find(f"/apis/{version}") is not None:
                return version
        pytest.skip(f"Kubernetes {self.version} has none of {', '.join(versions)}")

    async def status_of(
        self,
        method: str,
        path: str,
        body: Any = None,
        content: str = "application/json",
        user: str = "",
        accept: str = "application/json",
        **params: str,
    ) -> tuple[int, Json]:
        """Code and JSON of any answer, also of a refusal."""
        connection = self.kube._connection
        url, headers = await connection.sign(method, path, list(params.items()), body, content)
        headers |= {"Accept": accept} | ({"Impersonate-User": user} if user else {})
        answer = await connection.client.rest_client.request(method, url, headers=headers, body=body)
        async with answer.response as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return response.status, json.loads(text) if is_json else {"message": text}

    async def stream(self, path: str, **params: str) -> AsyncIterator[Json]:
        """The events of one watch request, as they are on the wire, until the server ends it."""
        query = [("watch", "true"), *params.items()]
        response = await self.kube._connection.send("GET", path, query, None, "application/json", _STREAM)
        try:
            assert response.status == 200, await response.text()
            rest = b""
            async for piece in response.content.iter_any():
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    yield json.loads(line)
        finally:
            response.close()

    async def record(self, plural: str, api: str) -> asyncio.Task[None]:
        """Follow a collection from now on, into ``stories``."""
        story = self.stories[plural] = Story(1 if self.simulated else 3)
        version = (await self.kube.get(self.path(plural, api=api)))["metadata"]["resourceVersion"]
        return asyncio.create_task(story.follow(self.stream(self.path(plural, api=api), resourceVersion=version)))

    # -- what is put on it ---------------------------------------------------------------------------------------------

    def container(self, script: str, **more: Any) -> Json:
        image = os.environ.get("DRILLBOOK_TEST_IMAGE", "")
        result = {"name": "main", "command": ["sh", "-c", script], "image": image or "busybox:1.36", **more}
        if not self.simulated and not image:
            mounts = [{"name": name, "mountPath": f"/{name}", "readOnly": True} for name in USERLAND]
            result |= {"image": "local/host:1", "imagePullPolicy": "Never"} | more
            result["volumeMounts"] = [*(more.get("volumeMounts") or []), *mounts]
        return result

    def pod_spec(self, *containers: Json, **more: Any) -> Json:
        spec = {"containers": list(containers), "terminationGracePeriodSeconds": 2, **more}
        if not self.simulated and "DRILLBOOK_TEST_IMAGE" not in os.environ:
            volumes = [{"name": name, "hostPath": {"path": f"/{name}"}} for name in USERLAND]
            spec["volumes"] = [*(more.get("volumes") or []), *volumes]
        return spec

    async def run(self, name: str, script: str = OBEYS, *, spec: Json | None = None, **container: Any) -> Json:
        """Create a pod of one container."""
        body = self.pod_spec(self.container(script, **container), **(spec or {}))
        return await self.create("pods", {"metadata": {"name": name, "labels": {"app": name}}, "spec": body})

    async def deploy(
        self, name: str, replicas: int, script: str = OBEYS, *, container: Json | None = None, **spec: Any
    ) -> Json:
        """Create a Deployment of pods of one container."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": self.pod_spec(self.container(script, **(container or {})))}
        body = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template, **spec}
        return await self.create("deployments", {"metadata": {"name": name}, "spec": body}, "apps/v1")

    async def expose(self, name: str) -> Json:
        """Create a Service of the pods that ``run`` or ``deploy`` made under this name."""
        ports = [{"name": "http", "port": 80, "targetPort": 8000}]
        return await self.create(
            "services", {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": ports}}
        )

    async def ready(self, name: str) -> Json:
        """The pod of this name once it is Ready."""
        return (await self.pods.until(lambda one: one.name == name and is_ready(one.obj))).obj

    async def available(self, name: str) -> Json:
        """The Deployment once all its replicas are of its last template and available."""
        return (await self.stories["deployments"].until(lambda one: one.name == name and is_complete(one.obj))).obj

    async def gone(self, path: str, within: float = 40.0) -> None:
        """Wait until there is nothing under this path."""
        deadline = clock.monotonic() + within
        while True:
            try:
                await self.kube.get(path)
            except NotFoundError:
                return
            assert clock.monotonic() < deadline, f"{path} is still there after {within:g} s"
            await asyncio.sleep(0.1)

    async def reasons(self, name: str, *wanted: str, within: float = 20.0) -> list[Json]:
        """The Events about an object, once all of these reasons are among them."""
        rows: list[Json] = []
        for reason in wanted:
            told = await self.stories["events"].until(
                lambda one, reason=reason: one.obj["involvedObject"]["name"] == name and one.obj["reason"] == reason,
                within=within,
            )
            rows.append(told.obj)
        return rows


def condition(obj: Json, kind: str) -> Json:
    return next(row for row in obj["status"]["conditions"] if row["type"] == kind)


def is_ready(pod: Json) -> bool:
    return condition(pod, "Ready")["status"] == "True"


def is_complete(deployment: Json) -> bool:
    status, wanted = deployment["status"], deployment["spec"]["replicas"]
    return (
        status["observedGeneration"] >= deployment["metadata"]["generation"]
        and status["updatedReplicas"] == status["availableReplicas"] == status["replicas"] == wanted
    )


def main_container(pod: Json) -> Json:
    return next(row for row in pod["status"]["containerStatuses"] if row["name"] == "main")
