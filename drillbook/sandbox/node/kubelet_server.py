"""The kubelet's own HTTP server: logs and exec, which the API server relays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from aiohttp import web

from drillbook.sandbox.node import exec_session, log_reader
from drillbook.sandbox.node.container import Container
from drillbook.sandbox.node.host import Host
from drillbook.sandbox.node.pod import Pod


class KubeletServer:
    """Serves all nodes of the agent, each on its own address."""

    def __init__(self, host: Host, pods: Mapping[str, Pod], addresses: Sequence[str], port: int) -> None:
        self._host = host
        self._pods = pods
        self._addresses = addresses
        self._port = port

    async def run(self) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/pods", self._list)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_route("*", "/exec/{namespace}/{pod}/{container}", self._exec)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await runner.setup()
        try:
            for address in self._addresses:
                await web.TCPSite(runner, address, self._port, reuse_address=True).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _list(self, _request: web.Request) -> web.Response:
        items = [pod.obj for pod in self._pods.values()]
        return web.json_response({"kind": "PodList", "apiVersion": "v1", "items": items})

    def _find(self, request: web.Request) -> Container:
        """:raises HTTPNotFound: no such container here."""
        namespace, name = request.match_info["namespace"], request.match_info["pod"]
        for pod in self._pods.values():
            meta = pod.obj["metadata"]
            if meta["name"] == name and meta["namespace"] == namespace:
                found = pod.container(request.match_info["container"])
                if found is not None:
                    return found
                raise web.HTTPNotFound(text=f"container {request.match_info['container']} not found in pod {name}")
        raise web.HTTPNotFound(text=f'pod "{name}_{namespace}" does not exist')

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        container = self._find(request)
        previous = request.query.get("previous") == "true"
        pod = request.match_info["pod"]
        path = container.log_path(previous=previous)
        if path is None and previous:
            text = f'previous terminated container "{container.name}" in pod "{pod}" not found'
            raise web.HTTPBadRequest(text=text)
        if path is None:
            reason = container.state.get("waiting", {}).get("reason", "ContainerCreating")
            why = "trying and failing to pull image" if "Image" in reason else f"waiting to start: {reason}"
            raise web.HTTPBadRequest(text=f'container "{container.name}" in pod "{pod}" is {why}')
        try:
            query = log_reader.LogQuery.of(dict(request.query))
        except ValueError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        followed = container.id

        def ended() -> bool:
            return previous or container.id != followed or not container.is_running

        async for chunk in log_reader.read(path, query, ended):
            await response.write(chunk)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        container = self._find(request)
        if not container.is_running or container.spec is None:
            raise web.HTTPInternalServerError(text=f"container not found ({container.name!r})")
        return await exec_session.serve(request, self._host.runtime, container.spec)
