"""The way to a pod's kubelet: logs, and exec and attach as WebSockets relayed both ways."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.objects import Json, dig, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry

_LOG_QUERY = ("follow", "previous", "tailLines", "sinceSeconds", "sinceTime", "timestamps", "limitBytes")
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_MESSAGE_LIMIT = 4 * 1024 * 1024


class KubeletProxy:
    """One HTTP session to all kubelets; ``close`` ends it."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5), auto_decompress=False
            )
        return self._session

    def _container(self, pod: Json, wanted: str) -> str:
        """Raises ApiError 400."""
        spec = pod["spec"]
        names = [
            row["name"]
            for field in ("containers", "initContainers", "ephemeralContainers")
            for row in spec.get(field) or []
        ]
        if wanted and wanted not in names:
            raise statuses.bad_request(f"container {wanted} is not valid for pod {name_of(pod)}")
        if not wanted and len(spec["containers"]) > 1:
            choice = " ".join(row["name"] for row in spec["containers"])
            raise statuses.bad_request(
                f"a container name must be specified for pod {name_of(pod)}, choose one of: [{choice}]"
            )
        return wanted or str(spec["containers"][0]["name"])

    def _base(self, pod: Json) -> str:
        """The kubelet's address. Raises ApiError 400 where the pod has no node, 500 where the node has no address."""
        node_name = dig(pod, "spec", "nodeName")
        if not node_name:
            raise statuses.bad_request(f"pod {name_of(pod)} does not have a host assigned")
        node = self._registry.find("nodes", "", node_name)
        port = dig(node, "status", "daemonEndpoints", "kubeletEndpoint", "Port")
        host = next(
            (row["address"] for row in dig(node, "status", "addresses", default=[]) if row["type"] == "InternalIP"),
            None,
        )
        if host is None or port is None:
            raise statuses.ApiError(500, "InternalError", f"no preferred addresses found for node {node_name}")
        return f"{host}:{port}"

    def _path(self, verb: str, pod: Json, container: str) -> str:
        return f"{self._base(pod)}/{verb}/{namespace_of(pod)}/{name_of(pod)}/{container}"

    async def logs(self, request: web.Request, pod: Json) -> web.StreamResponse:
        """Relay the log as it comes. Raises ApiError."""
        container = self._container(pod, request.query.get("container", ""))
        query = {key: request.query[key] for key in _LOG_QUERY if key in request.query}
        url = f"http://{self._path('containerLogs', pod, container)}?{urlencode(query)}"
        try:
            async with self._client().get(url) as upstream:
                if upstream.status != 200:
                    raise statuses.bad_request((await upstream.text()).strip())
                response = web.StreamResponse(headers={"Content-Type": "text/plain"})
                response.enable_chunked_encoding()
                await response.prepare(request)
                async for chunk in upstream.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
                return response
        except aiohttp.ClientConnectionError as problem:
            raise _unreachable(url, problem) from None

    async def connect(self, request: web.Request, pod: Json, verb: str) -> web.StreamResponse:
        """``exec`` or ``attach``. Raises ApiError."""
        if "*/*" not in request.headers.get("Accept", "*/*"):
            raise statuses.ApiError(406, "NotAcceptable", "406: Not Acceptable")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            raise statuses.bad_request("only WebSocket is spoken here (v5.channel.k8s.io), SPDY is not")
        container = self._container(pod, request.query.get("container", ""))
        query = [(key, value) for key, value in request.query.items() if key != "container"]
        url = f"ws://{self._path(verb, pod, container)}?{urlencode(query)}"
        offered = [part.strip() for part in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        wanted = [name for name in _PROTOCOLS if name in offered] or ["v4.channel.k8s.io"]
        try:
            upstream = await self._client().ws_connect(url, protocols=wanted, max_msg_size=_MESSAGE_LIMIT)
        except aiohttp.WSServerHandshakeError as problem:
            why = f"the kubelet refused: {problem.message}"
            raise statuses.ApiError(problem.status, "InternalError", why) from None
        except aiohttp.ClientConnectionError as problem:
            raise _unreachable(url, problem) from None
        async with upstream:
            server = web.WebSocketResponse(protocols=[upstream.protocol or wanted[0]], max_msg_size=_MESSAGE_LIMIT)
            await server.prepare(request)
            up = asyncio.create_task(_relay(server, upstream))
            try:
                await _relay(upstream, server)
            finally:
                up.cancel()
                await asyncio.gather(up, return_exceptions=True)
            await server.close(code=upstream.close_code or 1000)
            return server


_Socket = aiohttp.ClientWebSocketResponse | web.WebSocketResponse


async def _relay(source: _Socket, sink: _Socket) -> None:
    async for message in source:
        if sink.closed:
            return
        if message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(message.data)
        elif message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(message.data)
    if isinstance(source, web.WebSocketResponse) and not sink.closed:
        await sink.close()


def _unreachable(url: str, problem: Exception) -> statuses.ApiError:
    return statuses.ApiError(500, "InternalError", f'Get "{url}": {problem}')
