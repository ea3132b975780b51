"""LIST: selectors, pages and the bytes of a list that were encoded once."""

from __future__ import annotations

import base64
import bisect
import itertools

import msgspec
from aiohttp import web

from drillbook.sandbox.control import bodies, conversions, selectors, statuses, tables
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, name_of, namespace_of
from drillbook.sandbox.control.requests import Target, number
from drillbook.sandbox.control.selectors import Predicate
from drillbook.sandbox.control.store import Entry, Store


def predicate_of(target: Target, query: dict[str, str]) -> Predicate | None:
    """The query's selectors, and the name where one object is meant. Raises ApiError 400."""
    fields = query.get("fieldSelector", "")
    if target.name:
        fields = f"{fields},metadata.name={target.name}" if fields else f"metadata.name={target.name}"
    return selectors.predicate(query.get("labelSelector", ""), fields, target.kind.fields)


def encoded(kind: Kind, entry: Entry) -> bytes:
    """The entry's bytes in the version asked for."""
    return msgspec.json.encode(conversions.from_storage(kind, entry.obj)) if kind.storage else entry.encoded


def selected(store: Store, target: Target, query: dict[str, str]) -> list[Entry]:
    """Raises ApiError 400."""
    predicate = predicate_of(target, query)
    entries = store.entries(target.kind.resource, target.namespace)
    return entries if predicate is None else [entry for entry in entries if predicate(entry.obj)]


def _token(revision: int, last: Entry) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([revision, namespace_of(last.obj), name_of(last.obj)])).decode()


def _after(store: Store, kind: Kind, entries: list[Entry], token: str) -> tuple[int, list[Entry]]:
    """The rest of a list, at the revision of its first page. Raises ApiError 400, 410."""
    try:
        revision, namespace, name = msgspec.json.decode(base64.urlsafe_b64decode(token), type=tuple[int, str, str])
    except (ValueError, msgspec.MsgspecError):
        raise statuses.bad_request("continue key is not valid") from None
    store.since(kind.resource, revision)
    last = (namespace, name)
    return revision, entries[bisect.bisect_right(entries, last, key=lambda e: (namespace_of(e.obj), name_of(e.obj))) :]


def _first(entries: list[Entry], predicate: Predicate | None, limit: int) -> tuple[list[Entry], int | None]:
    """Up to ``limit`` (0: all) of the entries that are wanted, and how many are left: None where nobody counted.

    With a selector only one more than ``limit`` is looked for, so that a page of a large list costs no walk over all.
    """
    if predicate is None:
        return (entries[:limit], len(entries) - limit) if 0 < limit < len(entries) else (entries, 0)
    wanted = (entry for entry in entries if predicate(entry.obj))
    if not limit:
        return list(wanted), 0
    found = list(itertools.islice(wanted, limit + 1))
    return found[:limit], None if len(found) > limit else 0


def serve_list(request: web.Request, store: Store, target: Target) -> web.Response:
    """A typed list or a Table. Raises ApiError 400, 410."""
    kind, query = target.kind, dict(request.query)
    predicate, limit = predicate_of(target, query), number(query.get("limit"), "limit") or 0
    entries = store.entries(kind.resource, target.namespace)
    revision = store.revision
    if query.get("continue"):
        revision, entries = _after(store, kind, entries, query["continue"])
    entries, left = _first(entries, predicate, limit)
    metadata: Json = {"resourceVersion": str(revision)}
    if left != 0:
        metadata["continue"] = _token(revision, entries[-1])
    if left:
        metadata["remainingItemCount"] = left
    if tables.wants_table(request.headers.get("Accept", "")):
        rows = (conversions.from_storage(kind, entry.obj) for entry in entries)
        table = tables.table(kind, rows, query.get("includeObject", "Metadata"), str(revision))
        table["metadata"] = metadata
        return bodies.answer(table)
    head = msgspec.json.encode({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata})
    items = b",".join(encoded(kind, entry) for entry in entries)
    return bodies.answer(b'%s,"items":[%s]}' % (head[:-1], items))
