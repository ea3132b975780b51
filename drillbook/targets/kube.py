"""``Kube``: the Kubernetes API as plain JSON in and out, with a time-out on everything and errors of our own tree."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import aiohttp
import msgspec

from drillbook import clock, garbage
from drillbook.model.plan import Permission
from drillbook.model.undo import ObjectRef
from drillbook.targets import connection as transport
from drillbook.targets import paths, podexec, watching
from drillbook.targets.answers import ApiError, DisruptionError, UnavailableError, error_of
from drillbook.targets.connection import TRANSPORT_ERRORS, Connection
from drillbook.targets.podexec import ExecResult
from drillbook.targets.podprocess import PodProcess
from drillbook.targets.watching import Change

Json = dict[str, Any]
Objects = list[Json]

REQUEST_SECONDS = 10.0
"""The client's time-out: how long any one request may take. What was accepted may still land after it."""
PAGE = 500
"""Objects a page of a list; kubectl's own default."""
PATCHES = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}
"""The four patch types: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply."""


class Kube:
    """One API server. Use as ``async with await Kube.from_kubeconfig(path, context) as kube``, or ``close`` it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.server, self.context, self.namespace = connection.server, connection.context, connection.namespace

    @classmethod
    async def from_kubeconfig(cls, path: Path | str | None = None, context: str | None = None) -> Self:
        """Connect with kubectl's own credentials; inside a pod, without a kubeconfig, with the pod's.

        :raises UnreachableError: there are no usable credentials.
        """
        return cls(await transport.connect(Path(path) if path else None, context))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connection.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content: str = "application/json",
        timeout: float = REQUEST_SECONDS,
    ) -> bytes:
        """One request, its answer as bytes. A 429 (the request was not looked at) is waited out within ``timeout``.

        :raises ApiError: the server said no.
        :raises UnavailableError: it does not answer, or not now.
        """
        doing = f"{method} {path}"
        until = clock.monotonic() + timeout
        while True:
            left = max(until - clock.monotonic(), 0.05)
            limits = aiohttp.ClientTimeout(total=left, sock_connect=min(transport.CONNECT_SECONDS, left))
            response = await self._connection.send(method, path, list((params or {}).items()), body, content, limits)
            async with response:
                try:
                    answer = await response.read()
                except TRANSPORT_ERRORS as error:
                    raise self._connection.unavailable(doing, error) from error
                if response.status < 300:
                    return answer
                if response.status == 429 and path.endswith("/eviction"):
                    raise DisruptionError(str(error_of(409, answer, doing)), code=429, reason="TooManyRequests")
                refusal = error_of(response.status, answer, doing)
                pause = _retry_after(response) if response.status == 429 else None
            if pause is None or clock.monotonic() + pause >= until:
                raise refusal
            await asyncio.sleep(pause)

    async def json(self, method: str, path: str, **options: Any) -> Json:
        """One request whose answer is an object. Raises as ``request`` does."""
        answer = await self.request(method, path, **options)
        try:
            decoded = _decode(answer)
        except msgspec.DecodeError as error:
            raise UnavailableError(f"{method} {path}: the answer is not JSON: {error}") from error
        if not isinstance(decoded, dict):
            raise UnavailableError(f"{method} {path}: the answer is no object")
        return decoded

    async def get(self, path: str, **params: str) -> Json:
        return await self.json("GET", path, params=params)

    async def list(self, path: str, *, labels: str = "", fields: str = "") -> Objects:
        """All objects of a collection (read in pages), each with its ``kind`` and ``apiVersion``."""
        items, _ = await self.list_at(path, labels=labels, fields=fields)
        return items

    async def list_at(self, path: str, *, labels: str = "", fields: str = "") -> tuple[Objects, str]:
        """All objects of a collection, and the resourceVersion at which this was the truth."""
        items: Objects = []
        params = {"limit": str(PAGE)} | _selectors(labels, fields)
        while True:
            page = await self.json("GET", path, params=params)
            meta = page.get("metadata", {})
            kind, version = str(page.get("kind", "")).removesuffix("List"), page.get("apiVersion", "")
            for item in page.get("items") or []:
                item.update(kind=kind, apiVersion=version)
                items.append(item)
            token = meta.get("continue")
            if not token:
                return items, str(meta.get("resourceVersion", ""))
            params["continue"] = token

    def watch(self, path: str, *, labels: str = "", fields: str = "") -> AsyncIterator[Change]:
        """What is there (``PRESENT``), then each change, for ever: see ``watching.watch``."""
        return watching.watch(self._connection, self, path, _selectors(labels, fields))

    async def create(self, path: str, body: Json) -> Json:
        return await self.json("POST", path, body=body)

    async def replace(self, path: str, body: Json) -> Json:
        """PUT: with ``metadata.resourceVersion`` in the body this is a compare-and-swap (``ConflictError``)."""
        return await self.json("PUT", path, body=body)

    async def patch(
        self,
        path: str,
        body: Json | Objects,
        kind: Literal["merge", "json", "strategic", "apply"] = "merge",
        *,
        field_manager: str = "drillbook",
    ) -> Json:
        params = {"fieldManager": field_manager} | ({"force": "true"} if kind == "apply" else {})
        return await self.json("PATCH", path, params=params, body=body, content=PATCHES[kind])

    async def delete(self, path: str, *, uid: str = "", grace: int | None = None) -> Json:
        """Delete one object; with ``uid`` only that very one (``ConflictError`` when it is another by now)."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        return await self.json("DELETE", path, body=options)

    async def evict(
        self, namespace: str, name: str, *, uid: str = "", grace: int | None = None, version: str = "policy/v1"
    ) -> Json:
        """Ask the Eviction API, which honours PodDisruptionBudgets. Before Kubernetes 1.22 it spoke ``policy/v1beta1``.

        :raises DisruptionError: a budget does not allow it now.
        """
        options: Json = {"preconditions": {"uid": uid}} if uid else {}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        meta = {"name": name, "namespace": namespace}
        body = {"apiVersion": version, "kind": "Eviction", "metadata": meta, "deleteOptions": options}
        return await self.json("POST", f"{paths.pod(namespace, name)}/eviction", body=body)

    async def exec(
        self,
        namespace: str,
        pod: str,
        container: str,
        argv: tuple[str, ...],
        *,
        stdin: bytes | None = None,
        timeout: float = REQUEST_SECONDS,
    ) -> ExecResult:
        """Run a program in a container: see ``podexec.run``."""
        return await podexec.run(self._connection, namespace, pod, container, argv, stdin=stdin, timeout=timeout)

    async def process(self, pod: ObjectRef, container: str, argv: tuple[str, ...]) -> PodProcess:
        """Start a program in a container and talk with it: see ``podprocess``."""
        return await PodProcess.start(self._connection, pod, container, argv)

    async def logs(
        self, namespace: str, pod: str, container: str, *, tail: int | None = None, previous: bool = False
    ) -> str:
        """The container's log, with ``previous`` that of the run before its last restart."""
        params = {"container": container} | ({"tailLines": str(tail)} if tail else {})
        params |= {"previous": "true"} if previous else {}
        answer = await self.request("GET", f"{paths.pod(namespace, pod)}/log", params=params)
        return answer.decode("utf-8", "replace")

    async def can(self, permission: Permission) -> bool:
        """Whether the credentials allow this, as the API server itself says (SelfSubjectAccessReview)."""
        wanted = {"verb": permission.verb, "group": permission.group, "resource": permission.resource}
        wanted |= {"subresource": permission.subresource, "namespace": permission.namespace}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in wanted.items() if value}},
        }
        review = await self.create(paths.collection("authorization.k8s.io/v1", "selfsubjectaccessreviews"), body)
        return bool(review.get("status", {}).get("allowed"))

    async def version(self) -> str:
        """The API server's version (``v1.33.1``)."""
        return str((await self.get("/version")).get("gitVersion", "unknown"))

    async def cluster(self) -> str:
        """What tells this cluster from others: the uid of ``kube-system``; its address where that may not be read."""
        try:
            return str((await self.get("/api/v1/namespaces/kube-system"))["metadata"]["uid"])
        except ApiError:
            return self.server

    async def find(self, path: str) -> Json | None:
        """The object, or None where there is none."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise


def _decode(answer: bytes) -> Any:
    with garbage.kept():  # a third of the time of a long list
        return msgspec.json.decode(answer)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return ({"labelSelector": labels} if labels else {}) | ({"fieldSelector": fields} if fields else {})


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    try:
        return max(float(response.headers["Retry-After"]), 0.1)
    except (KeyError, ValueError):
        return None
