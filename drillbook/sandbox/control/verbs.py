"""The verbs on resources: one generic handler for all kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

from drillbook.sandbox.control import (
    apply,
    bodies,
    conversions,
    fields,
    pages,
    patching,
    scale,
    statuses,
    tables,
    watch,
)
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.eviction import evict
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.kubelet import KubeletProxy
from drillbook.sandbox.control.objects import Json, copy, dig, name_of, namespace_of, uid_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.requests import Target
from drillbook.sandbox.control.store import Entry

_RETURNED_ON_DELETE = frozenset({"pods", "services", "serviceaccounts", "persistentvolumeclaims"})
_CREATED: Json = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


class Verbs:
    """Carries out one resolved and permitted request."""

    def __init__(self, registry: Registry, kubelets: KubeletProxy) -> None:
        self._registry = registry
        self._kubelets = kubelets
        self._watches: set[watch.Watch] = set()

    def close_watches(self) -> None:
        """Let every client list and watch again, elsewhere or later."""
        for one in tuple(self._watches):
            one.close()

    async def serve(self, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
        """Raises ApiError."""
        response = await self._serve(request, target, verb)
        fields.warn(request, response)
        return response

    async def _serve(self, request: web.Request, target: Target, verb: str) -> web.StreamResponse:
        if target.subresource in ("log", "exec", "attach", "eviction", "binding"):
            return await self._serve_pod(request, target)
        if verb == "watch":
            return await self._watch(request, target)
        if verb == "list":
            return pages.serve_list(request, self._registry.store, target)
        if verb == "get":
            return self._get(request, target)
        if verb == "create":
            return await self._create(request, target)
        if verb == "update":
            body = await bodies.read_object(request, scale.SCALE if target.subresource == "scale" else target.kind)
            if not target.subresource:  # a status is a machine's work
                fields.check(request, target.kind, body, await request.read())
            return self._replace(request, target, body)
        if verb == "patch":
            return await self._patch(request, target)
        return await self._delete(request, target)

    def _answer(self, request: web.Request, kind: Kind, entry: Entry, status: int = 200) -> web.Response:
        if tables.wants_table(request.headers.get("Accept", "")):
            row = conversions.from_storage(kind, entry.obj)
            include = request.query.get("includeObject", "Metadata")
            return bodies.answer(tables.table(kind, [row], include, str(entry.revision)), status)
        return bodies.answer(pages.encoded(kind, entry), status)

    def _get(self, request: web.Request, target: Target) -> web.Response:
        entry = self._registry.get(target.kind, target.namespace, target.name)
        if target.subresource == "scale":
            return bodies.answer(scale.to_scale(target.kind, entry.obj))
        return self._answer(request, target.kind, entry)

    async def _watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        store, kind, query = self._registry.store, target.kind, dict(request.query)
        encode: Callable[[Entry], bytes] = lambda entry: pages.encoded(kind, entry)  # noqa: E731  one of two encoders
        if tables.wants_table(request.headers.get("Accept", "")):
            encode = watch.table_encoder(kind, query.get("includeObject", "Metadata"))
        predicate = pages.predicate_of(target, query)
        try:
            one = watch.Watch(store, target, query, predicate, encode, self._registry.settings.bookmark_period)
        except statuses.ApiError as refusal:
            if refusal.code != 410:
                raise
            return await watch.serve_gone(request, refusal)
        self._watches.add(one)
        try:
            return await one.serve(request)
        finally:
            one.close()
            self._watches.discard(one)

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        if target.name:
            raise statuses.method_not_allowed()
        body = await bodies.read_object(request, target.kind)
        fields.check(request, target.kind, body, await request.read())
        obj = conversions.to_storage(target.kind, body)
        if request.query.get("fieldManager") and dig(obj, "metadata", "managedFields"):
            del obj["metadata"]["managedFields"]
        entry = self._registry.create(target.kind, target.namespace, obj, dry_run=_is_dry(request))
        return self._answer(request, target.kind, entry, 201)

    def _replace(self, request: web.Request, target: Target, body: Json) -> web.Response:
        kind, registry = target.kind, self._registry
        old = registry.get(kind, target.namespace, target.name).obj
        subresource = target.subresource
        if subresource == "scale":
            body, subresource = scale.from_scale(kind, copy(old), body), ""
        else:
            body = conversions.to_storage(kind, body)
        apply.note_update(old, body, request.query.get("fieldManager") or "unknown", target.subresource)
        entry = registry.update(kind, target.namespace, target.name, body, subresource, dry_run=_is_dry(request))
        if target.subresource == "scale":
            return bodies.answer(scale.to_scale(kind, entry.obj))
        return self._answer(request, kind, entry)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        media = bodies.content_type(request)
        patch: Any = await bodies.read(request)
        kind, registry = target.kind, self._registry
        if media == patching.APPLY:
            if isinstance(patch, dict):
                place = f"{target.namespace}/{target.name}"
                fields.check_applied(request, kind, patch, place, await request.read())
            entry, created = apply.serve_apply(registry, target, patch, request.query, dry_run=_is_dry(request))
            return self._answer(request, kind, entry, 201 if created else 200)
        entry = registry.get(kind, target.namespace, target.name)
        if target.subresource == "scale":
            before = scale.to_scale(kind, entry.obj)
            del before["metadata"]["resourceVersion"]
            return self._replace(request, target, patching.patched(scale.SCALE, before, media, patch))
        after = patching.patched(kind, conversions.from_storage(kind, entry.obj), media, patch)
        if not target.subresource:
            fields.check_patched(request, kind, after, await request.read())
        return self._replace(request, target, after)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        body = await bodies.read(request)
        options = DeleteOptions.parse(body if isinstance(body, dict) else {}, dict(request.query))
        kind, registry = target.kind, self._registry
        if not target.name:
            entries = pages.selected(registry.store, target, dict(request.query))
            for entry in entries:
                registry.delete(kind, namespace_of(entry.obj), name_of(entry.obj), options)
            items = [conversions.from_storage(kind, entry.obj) for entry in entries]
            return bodies.answer(
                {
                    "kind": f"{kind.kind}List",
                    "apiVersion": kind.api_version,
                    "metadata": {"resourceVersion": str(registry.store.revision)},
                    "items": items,
                }
            )
        entry, gone = registry.delete(kind, target.namespace, target.name, options)
        if gone and kind.resource not in _RETURNED_ON_DELETE:
            return bodies.answer(statuses.success(kind.resource, target.name, uid_of(entry.obj)))
        return self._answer(request, kind, entry)

    async def _serve_pod(self, request: web.Request, target: Target) -> web.StreamResponse:
        pod = self._registry.get(target.kind, target.namespace, target.name).obj
        if target.subresource == "log":
            return await self._kubelets.logs(request, pod)
        if target.subresource in ("exec", "attach"):
            return await self._kubelets.connect(request, pod, target.subresource)
        if request.method != "POST":
            raise statuses.method_not_allowed()
        body = await bodies.read_object(request)
        if target.subresource == "binding":
            self._registry.bind(target.namespace, target.name, dig(body, "target", "name", default=""))
        else:
            options = DeleteOptions.parse(body.get("deleteOptions") or {}, dict(request.query))
            evict(self._registry, pod, options)
        return bodies.answer(_CREATED, 201)


def _is_dry(request: web.Request) -> bool:
    return request.query.get("dryRun") == "All"
