"""Watches: one stream of JSON lines, from a revision on or from the present state."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable

import msgspec
from aiohttp import web

from drillbook import clock
from drillbook.sandbox.control import tables
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, namespace_of
from drillbook.sandbox.control.requests import Target, is_true, number
from drillbook.sandbox.control.selectors import Predicate
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.store import Change, Entry, Store

_BACKLOG = 100_000
"""Events that a client may be behind before its watch is closed, so that it lists anew."""

Encode = Callable[[Entry], bytes]


class Watch:
    """One client's watch. Listens to the store from its making until ``close``."""

    def __init__(
        self,
        store: Store,
        target: Target,
        query: dict[str, str],
        predicate: Predicate | None,
        encode: Encode,
        bookmark_period: float,
    ) -> None:
        self._store = store
        self._kind: Kind = target.kind
        self._namespace = target.namespace
        self._predicate = predicate
        self._encode = encode
        self._lines: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._bookmarks = is_true(query.get("allowWatchBookmarks"))
        self._period = bookmark_period
        self._timeout = number(query.get("timeoutSeconds"), "timeoutSeconds") or random.randint(1800, 3600)  # noqa: S311  spreads reconnects
        self._closed = False
        self._seen = 0
        self._start(query)
        store.listen(self._kind.resource, self._on_change)

    def _start(self, query: dict[str, str]) -> None:
        since = query.get("resourceVersion") or ""
        initial = is_true(query.get("sendInitialEvents"))
        if since in ("", "0") or initial:
            for entry in self._store.entries(self._kind.resource, self._namespace):
                if self._predicate is None or self._predicate(entry.obj):
                    self._push("ADDED", entry)
            self._seen = self._store.revision
            if initial:
                self._push_bookmark({"k8s.io/initial-events-end": "true"})
            return
        revision = number(since, "resourceVersion") or 0
        self._seen = revision
        for change in self._store.since(self._kind.resource, revision):
            self._on_change(change)

    def _on_change(self, change: Change) -> None:
        if self._namespace and namespace_of(change.obj) != self._namespace:
            return
        self._seen = change.entry.revision
        if self._predicate is None:
            self._push(change.type, change.entry)
            return
        before = change.previous is not None and self._predicate(change.previous.obj)
        now = change.type != "DELETED" and self._predicate(change.obj)
        if now:
            self._push("MODIFIED" if before else "ADDED", change.entry)
        elif change.previous is not None and before:
            gone = change.type == "DELETED"
            self._push("DELETED", change.entry if gone else _as_it_left(change.previous, change.entry))

    def _push(self, event: str, entry: Entry) -> None:
        if len(self._lines) > _BACKLOG:
            self.close()
        self._lines.append(b'{"type":"%s","object":%s}\n' % (event.encode(), self._encode(entry)))
        self._wake.set()

    def _push_bookmark(self, annotations: dict[str, str] | None = None) -> None:
        metadata: Json = {"resourceVersion": str(self._store.revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"kind": self._kind.kind, "apiVersion": self._kind.api_version, "metadata": metadata}
        self._lines.append(b'{"type":"BOOKMARK","object":%s}\n' % msgspec.json.encode(obj))
        self._wake.set()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._store.unlisten(self._kind.resource, self._on_change)
            self._wake.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Write lines until the timeout, the client's leaving or ``close``."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        deadline = clock.monotonic() + self._timeout
        try:
            await response.prepare(request)
            while True:
                if self._lines:
                    batch = b"".join(self._lines)
                    self._lines.clear()
                    self._wake.clear()
                    await response.write(batch)
                left = deadline - clock.monotonic()
                if self._closed or left <= 0:
                    break
                if not self._lines:
                    await self._wait(left)
            if self._bookmarks and not self._closed:
                self._push_bookmark()
                await response.write(b"".join(self._lines))
            await response.write_eof()
        except ConnectionError:
            pass  # the client has left, which is how most watches end
        finally:
            self.close()
        return response

    async def _wait(self, left: float) -> None:
        try:
            await asyncio.wait_for(self._wake.wait(), min(left, self._period) if self._bookmarks else left)
        except TimeoutError:
            if self._bookmarks and left > self._period:
                self._push_bookmark()


def _as_it_left(last: Entry, now: Entry) -> Entry:
    """What a watcher is shown of an object that left its selection: the last state in it, at the version of leaving."""
    metadata = {**last.obj["metadata"], "resourceVersion": str(now.revision)}
    return Entry({**last.obj, "metadata": metadata}, now.revision)


def table_encoder(kind: Kind, include: str) -> Encode:
    """Events as one-row tables; only the first carries the column definitions."""
    first = True

    def encode(entry: Entry) -> bytes:
        nonlocal first
        value = tables.table(kind, [entry.obj], include, str(entry.revision), headers=first)
        first = False
        return msgspec.json.encode(value)

    return encode


async def serve_gone(request: web.Request, refusal: ApiError) -> web.StreamResponse:
    """A refusal inside the stream: how a real API server tells a watcher that its revision is too old."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b'{"type":"ERROR","object":%s}\n' % msgspec.json.encode(refusal.to_status()))
    await response.write_eof()
    return response
