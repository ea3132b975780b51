"""Watching a collection: first what is there, then every change, over time-outs, restarts and expired versions.

https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal, NamedTuple, Protocol

import aiohttp
import msgspec

from drillbook.targets import connection as transport
from drillbook.targets.answers import (
    ForbiddenError,
    GoneError,
    NotFoundError,
    UnavailableError,
    error_of,
    error_of_status,
)
from drillbook.targets.connection import TRANSPORT_ERRORS, Connection

WATCH_SECONDS = 50
"""The server ends a watch after this long; a connection that has been silent for longer is dead, and is made anew."""
BACKOFF = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Seconds between attempts while the API server does not answer; the last one repeats."""


class Change(NamedTuple):
    """One change. ``BOOKMARK`` follows each (re)list: everything up to its resourceVersion has been told."""

    type: Literal["PRESENT", "ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: dict[str, Any]


class Lister(Protocol):
    """The part of ``Kube`` that a watch starts from."""

    async def list_at(self, path: str, *, labels: str = "", fields: str = "") -> tuple[list[dict[str, Any]], str]:
        """All objects, and the resourceVersion at which this was the truth."""


async def watch(connection: Connection, lister: Lister, path: str, selectors: dict[str, str]) -> AsyncIterator[Change]:
    """Objects that are there as ``PRESENT``, then each change once and in order, until the iterator is closed.

    When the server no longer has the history since we last looked (410), the collection is listed again, and what
    differs is told: changes in between are folded into one, and what vanished comes as a ``DELETED`` whose object has
    only its metadata as last seen.

    :raises ApiError: the list is refused.
    :raises UnavailableError: the very first list is not answered; later the watch waits for the server to return.
    """
    known: dict[str, dict[str, Any]] = {}
    version = ""
    failures = 0
    first = True
    while True:
        try:
            if not version:
                items, version = await lister.list_at(
                    path, labels=selectors.get("labelSelector", ""), fields=selectors.get("fieldSelector", "")
                )
                for change in _differences(known, items, first=first):
                    yield change
                first = False
                yield Change("BOOKMARK", {"metadata": {"resourceVersion": version}})
            async for change in _stream(connection, path, selectors | {"resourceVersion": version}):
                failures = 0
                version = change.object["metadata"]["resourceVersion"]
                if change.type != "BOOKMARK" and _note(known, change):
                    yield change
        except GoneError:
            version = ""
        except UnavailableError:
            if first:
                raise
            await asyncio.sleep(BACKOFF[min(failures, len(BACKOFF) - 1)])
            failures += 1
        except (ForbiddenError, NotFoundError):
            # a restarting API server may deny or not know what it allowed a moment ago; a real denial lasts
            failures += 1
            if first or failures > len(BACKOFF):
                raise
            await asyncio.sleep(BACKOFF[failures - 1])


def _differences(known: dict[str, dict[str, Any]], items: list[dict[str, Any]], *, first: bool) -> list[Change]:
    """What a new list says beside what was told so far; brings ``known`` up to date."""
    changes: list[Change] = []
    present = {item["metadata"]["uid"] for item in items}
    changes += [Change("DELETED", known.pop(uid)) for uid in list(known) if uid not in present]
    for item in items:
        seen = known.get(item["metadata"]["uid"])
        if seen is None:
            changes.append(Change("PRESENT" if first else "ADDED", item))
        elif seen["metadata"]["resourceVersion"] != item["metadata"]["resourceVersion"]:
            changes.append(Change("MODIFIED", item))
        known[item["metadata"]["uid"]] = _identity(item)
    return changes


def _note(known: dict[str, dict[str, Any]], change: Change) -> bool:
    """Bring ``known`` up to date; False where this very change was told before."""
    meta = change.object["metadata"]
    seen = known.get(meta["uid"])
    if change.type == "DELETED":
        known.pop(meta["uid"], None)
        return seen is not None
    known[meta["uid"]] = _identity(change.object)
    return seen is None or seen["metadata"]["resourceVersion"] != meta["resourceVersion"]


def _identity(item: dict[str, Any]) -> dict[str, Any]:
    kept = ("name", "namespace", "uid", "resourceVersion", "labels")
    meta = {key: item["metadata"][key] for key in kept if key in item["metadata"]}
    return {"apiVersion": item.get("apiVersion", ""), "kind": item.get("kind", ""), "metadata": meta}


async def _stream(connection: Connection, path: str, params: dict[str, str]) -> AsyncIterator[Change]:
    """One watch request, until the server ends it."""
    doing = f"WATCH {path}"
    query = [
        *params.items(),
        ("watch", "true"),
        ("allowWatchBookmarks", "true"),
        ("timeoutSeconds", str(WATCH_SECONDS)),
    ]
    limits = aiohttp.ClientTimeout(total=WATCH_SECONDS + 15, sock_connect=transport.CONNECT_SECONDS)
    response = await connection.send("GET", path, query, None, "application/json", limits)
    try:
        if response.status >= 300:
            raise error_of(response.status, await response.read(), doing)
        rest = b""
        async for piece in response.content.iter_any():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                if line.strip():
                    yield _change(line, doing)
    except TRANSPORT_ERRORS as error:
        raise connection.unavailable(doing, error) from error
    except msgspec.DecodeError as error:
        raise UnavailableError(f"{doing}: the answer is not JSON: {error}") from error
    finally:
        response.close()


def _change(line: bytes, doing: str) -> Change:
    event = msgspec.json.decode(line)
    if event["type"] == "ERROR":
        raise error_of_status(event["object"], doing)
    return Change(event["type"], event["object"])
