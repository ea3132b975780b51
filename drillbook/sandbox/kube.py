"""The few API calls that starting a sandbox takes, on the standard library: ``up`` has no time for heavy imports."""

from __future__ import annotations

import asyncio
import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from drillbook.errors import PreflightError, UnreachableError

Json = dict[str, Any]
_FOLDERS = {
    "Namespace": "/api/v1/namespaces", "Node": "/api/v1/nodes", "Service": "/api/v1/namespaces/{}/services",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps", "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "LeaderWorkerSet": "/apis/leaderworkerset.x-k8s.io/v1/namespaces/{}/leaderworkersets",
    "Rollout": "/apis/argoproj.io/v1alpha1/namespaces/{}/rollouts",
    "AnalysisTemplate": "/apis/argoproj.io/v1alpha1/namespaces/{}/analysistemplates",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
}  # fmt: skip


class Kube:
    """Plain JSON to the API server at ``url``."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def create(self, obj: Json, *, or_leave: bool = False) -> Json:
        """Create an object of a kind that the sandbox's manifests use; ``or_leave`` one as it is that is there.

        :raises PreflightError: refused.
        :raises UnreachableError: the API server does not answer.
        """
        namespace = obj["metadata"].get("namespace", "")
        status, answer = await self._call("POST", _FOLDERS[obj["kind"]].format(namespace), obj)
        if status >= 400 and not (or_leave and status == 409):
            raise PreflightError(f"cannot create {obj['kind']} {obj['metadata']['name']}: {answer.get('message')}")
        return answer

    async def merge(self, path: str, patch: Json) -> bool:
        """Change an object by a merge patch; False: there is none.

        :raises PreflightError: refused.
        :raises UnreachableError: the API server does not answer.
        """
        status, answer = await self._call("PATCH", path, patch)
        if status >= 400 and status != 404:
            raise PreflightError(f"cannot change {path}: {answer.get('message')}")
        return status < 400

    async def items(self, path: str) -> list[Json]:
        """The items of a list; empty where the server says no.

        :raises UnreachableError: the API server does not answer.
        """
        status, answer = await self._call("GET", path)
        return answer.get("items") or [] if status == 200 else []

    async def text(self, path: str) -> str:
        """A plain answer, such as a log.

        :raises UnreachableError: the API server does not answer.
        """
        _, content = await asyncio.to_thread(fetch, self._url + path)
        return content.decode(errors="replace")

    async def is_ready(self) -> bool:
        try:
            status, _ = await self._call("GET", "/readyz")
        except UnreachableError:
            return False
        return status == 200

    async def _call(self, method: str, path: str, body: Json | None = None) -> tuple[int, Json]:
        status, content = await asyncio.to_thread(fetch, self._url + path, method, body)
        try:
            answer = json.loads(content)
        except ValueError:
            answer = {"message": content.decode(errors="replace")}
        return status, answer if isinstance(answer, dict) else {}


def fetch(url: str, method: str = "GET", body: Json | None = None, timeout: float = 10.0) -> tuple[int, bytes]:
    """One HTTP request. Status and content.

    :raises UnreachableError: nothing answers there.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    try:
        data = json.dumps(body) if body is not None else None
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection.request(method, target, data, {"Content-Type": content} if data else {})
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException) as error:
        raise UnreachableError(f"{url} does not answer: {error or type(error).__name__}") from None
    finally:
        connection.close()
