"""The node's client of the API server: plain JSON, and watches that survive the server's death."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from drillbook.errors import DrillbookError

Json = dict[str, Any]

STRATEGIC = "application/strategic-merge-patch+json"
MERGE = "application/merge-patch+json"
_AGAIN_FIRST, _AGAIN_MOST = 0.05, 1.0
"""Seconds between attempts to reach a server that is away."""


@dataclass(eq=False)
class ApiError(DrillbookError):
    """The API server said no. ``status`` is the HTTP status; 0 where it could not be reached."""

    status: int = 0


class Api:
    """One HTTP session to the API server at ``url``."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5),
            auto_decompress=False,
            # a name of the system's own, so that permissions taken from users leave the node working
            headers={
                "User-Agent": "drillbook-node",
                "Accept": "application/json",
                "Authorization": "Bearer system:node:drillbook",
            },
        )

    async def close(self) -> None:
        await self._session.close()

    async def get(self, path: str, **query: str) -> Json:
        return await self._request("GET", path, query=query)

    async def post(self, path: str, body: Json) -> Json:
        return await self._request("POST", path, body)

    async def put(self, path: str, body: Json) -> Json:
        return await self._request("PUT", path, body)

    async def patch(self, path: str, body: Json, kind: str = STRATEGIC) -> Json:
        return await self._request("PATCH", path, body, kind)

    async def delete(self, path: str, body: Json) -> Json:
        return await self._request("DELETE", path, body)

    async def _request(
        self, method: str, path: str, body: Json | None = None, kind: str = "application/json",
        query: dict[str, str] | None = None,
    ) -> Json:  # fmt: skip
        """:raises ApiError: refused, or (status 0) not reachable within 30 s."""
        data = msgspec.json.encode(body) if body is not None else None
        try:
            async with self._session.request(
                method, self._url + path, data=data, params=query, headers={"Content-Type": kind} if data else None,
                timeout=aiohttp.ClientTimeout(total=30),
            ) as response:  # fmt: skip
                content = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(f"{method} {path}: {error or type(error).__name__}") from None
        try:
            answer = msgspec.json.decode(content)
        except msgspec.DecodeError:
            answer = {"message": content.decode(errors="replace")[:300]}
        if response.status >= 400:
            raise ApiError(f"{method} {path}: {answer.get('message', response.reason)}", status=response.status)
        result: Json = answer
        return result

    async def watch(self, path: str, **query: str) -> AsyncIterator[tuple[str, Json]]:
        """``("SYNCED", list)`` first and after every gap, then ``("ADDED" | "MODIFIED" | "DELETED", object)``.

        A gap is a server that went away, or a 410: what changed meanwhile is only in the list.
        """
        again = _AGAIN_FIRST
        while True:
            try:
                listed = await self.get(path, **query)
                yield "SYNCED", listed
                again = _AGAIN_FIRST
                version = listed["metadata"]["resourceVersion"]
                async for kind, obj in self._changes(path, query, version):
                    yield kind, obj
            except (ApiError, aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
                await asyncio.sleep(again)
                again = min(again * 2, _AGAIN_MOST)

    async def _changes(self, path: str, query: dict[str, str], version: str) -> AsyncIterator[tuple[str, Json]]:
        """Changes after ``version`` until the server ends the stream for good; resumes where it merely timed out."""
        while True:
            parameters = {**query, "watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
            async with self._session.get(self._url + path, params=parameters) as response:
                if response.status != 200:
                    return
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in filter(None, lines):
                        event = msgspec.json.decode(line)
                        if event["type"] == "ERROR":
                            return
                        version = event["object"]["metadata"]["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            yield event["type"], event["object"]
