"""The HTTP face: one handler for every path, refusals as Status objects."""

from __future__ import annotations

import logging

from aiohttp import web

from drillbook.sandbox.control import bodies, discovery, openapi, requests, statuses
from drillbook.sandbox.control.access import Access
from drillbook.sandbox.control.kubelet import KubeletProxy
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.verbs import Verbs

_log = logging.getLogger(__name__)
_BODY_LIMIT = 64 * 1024 * 1024


class Server:
    """An API server over a registry; ``app`` is its aiohttp application."""

    def __init__(self, registry: Registry) -> None:
        self._kinds = registry.kinds
        self._access = Access(registry.store)
        self._kubelets = KubeletProxy(registry)
        self._verbs = Verbs(registry, self._kubelets)
        self.app = web.Application(client_max_size=_BODY_LIMIT)
        self.app.router.add_route("*", "/{path:.*}", self._handle)
        self.app.on_shutdown.append(self._on_shutdown)

    async def _on_shutdown(self, _: web.Application) -> None:
        self._verbs.close_watches()
        await self._kubelets.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            target = requests.resolve(request.path, self._kinds)
            if target is None:
                return await self._serve_other(request)
            verb = target.verb(request)
            self._access.check(requests.Caller.of(request), target, verb)
            return await self._verbs.serve(request, target, verb)
        except statuses.ApiError as refusal:
            return bodies.answer(refusal.to_status(), refusal.code, refusal.headers)
        except ConnectionError:
            raise  # the client has left; there is nobody to answer
        except Exception as problem:  # noqa: BLE001  the last line of defence: logged, and told to the client as a 500
            _log.exception("%s %s", request.method, request.path_qs)
            failure = statuses.ApiError(500, "InternalError", f"Internal error occurred: {problem!r}")
            return bodies.answer(failure.to_status(), 500)

    async def _serve_other(self, request: web.Request) -> web.Response:
        """Discovery, OpenAPI, health and reviews. Raises ApiError 404."""
        parts = [part for part in request.path.split("/") if part]
        kinds = self._kinds
        found: object | None = None
        match parts:
            case ["healthz" | "livez" | "readyz", *_]:
                return web.Response(text="ok")
            case ["version"]:
                found = discovery.VERSION
            case ["api"]:
                found = discovery.core_versions()
            case ["apis"]:
                found = discovery.group_list(kinds)
            case ["api", version]:
                found = discovery.resource_list(kinds, "", version)
            case ["apis", group]:
                found = discovery.group(kinds, group)
            case ["apis", ("authorization.k8s.io" | "authentication.k8s.io"), "v1", plural] if request.method == "POST":
                found = await self._review(request, plural)
            case ["apis", group, version]:
                found = discovery.resource_list(kinds, group, version)
            case ["openapi", "v3"]:
                found = openapi.index(kinds)
            case ["openapi", "v3", "api", version]:
                found = openapi.document(kinds, "", version)
            case ["openapi", "v3", "apis", group, version]:
                found = openapi.document(kinds, group, version)
            case []:
                found = {"paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v3", "/readyz", "/version"]}
        if found is None:
            raise statuses.no_such_path()
        return bodies.answer(found, 201 if request.method == "POST" else 200)

    async def _review(self, request: web.Request, plural: str) -> object | None:
        caller = requests.Caller.of(request)
        body = await bodies.read_object(request)
        if plural == "selfsubjectaccessreviews":
            return self._access.review(caller, body)
        if plural == "selfsubjectrulesreviews":
            return self._access.rules_review(body)
        if plural == "selfsubjectreviews":
            return {**body, "status": {"userInfo": {"username": caller.user, "groups": list(caller.groups)}}}
        return None
