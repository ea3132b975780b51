"""The life of the API server, from a ready engine to the exit code, as vLLM's was seen to go.

Two ways lead to the end. Either the engine dies: then a watchdog looks every five seconds, and any request that got a
500 looks at once (an error inside a stream does not). Or SIGTERM comes: with ``--shutdown-timeout 0`` the engine is
killed before it can abort its requests, whose clients then may wait for ever; with more it drains first.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
from dataclasses import dataclass

from drillbook.sandbox.engine import log, process
from drillbook.sandbox.engine.engine_client import EngineClient
from drillbook.sandbox.engine.http_server import HTTPServer
from drillbook.sandbox.engine.settings import Settings

AFTER_SIGTERM = ("hang",) * 4 + ("abort",) * 2 + ("error",)
"""What in-flight clients met in seven trials of SIGTERM with no time to drain: a race, here decided by the seed."""
TICK = 0.1
"""How often uvicorn looks whether it should exit."""
STATISTICS_EVERY = 10.0


@dataclass
class Engine:
    """The engine's process and the end of the socket that leads to it."""

    pid: int
    socket: socket.socket


class Lifecycle:
    """Runs the server until it should exit."""

    def __init__(
        self, settings: Settings, engine: Engine, client: EngineClient, *, shutdown_timeout: int, statistics: bool
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._client = client
        self._shutdown_timeout = shutdown_timeout
        self._statistics = statistics
        self._keep_alive = os.environ.get("VLLM_KEEP_ALIVE_ON_ENGINE_DEATH", "0") not in ("", "0")
        self._should_exit = asyncio.Event()
        self._terminated = asyncio.Event()

    def look(self) -> None:
        """End the server if its engine is dead, unless it was told to live on."""
        if self._client.errored and not self._keep_alive:
            asyncio.get_running_loop().call_later(TICK, self._should_exit.set)

    async def run(self, server: HTTPServer, sock: socket.socket) -> int:
        """Serve; returns the exit code, which is 0 even when the engine died."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._terminated.set)
        loop.add_signal_handler(signal.SIGCHLD, process.reap)
        await self._client.connect(self._engine.socket)
        log.uvicorn(f"Started server process [{os.getpid()}]")
        log.uvicorn("Waiting for application startup.")
        await server.start(sock)
        log.uvicorn("Application startup complete.")
        tasks = [asyncio.create_task(one) for one in (self._watchdog(), self._shutdown(), self._bury())]
        if self._statistics:
            tasks.append(asyncio.create_task(self._report()))
        await self._should_exit.wait()
        await server.stop()
        for task in tasks:
            task.cancel()
        await asyncio.sleep(self._settings.teardown)
        return 0

    async def _bury(self) -> None:
        await self._client.dead.wait()
        process.kill_tree(self._engine.pid)

    async def _watchdog(self) -> None:
        while True:
            await asyncio.sleep(self._settings.watchdog)
            self.look()

    async def _shutdown(self) -> None:
        await self._terminated.wait()
        timeout = self._shutdown_timeout
        log.info("launcher.py", "[shutdown] API server: shutdown triggered")
        mode = "drain" if timeout else "abort"
        log.info("launcher.py", f"[shutdown] API server: stopping engine client mode={mode} timeout={timeout}s")
        if timeout:
            self._client.drain()
            try:
                await asyncio.wait_for(self._client.dead.wait(), timeout)
            except TimeoutError:
                self._kill()
            self._client.errored = True
        else:
            self._kill()
        log.info("launcher.py", "[shutdown] API server: engine client stopped")
        self._should_exit.set()

    def _kill(self) -> None:
        log.warning("utils.py", "[shutdown] Process manager: force killing remaining processes count=1")
        self._client.stop()
        process.kill_tree(self._engine.pid)
        met = random.Random(self._settings.seed).choice(AFTER_SIGTERM)  # noqa: S311 -- repeatable, not secret
        if met == "abort":
            self._client.abort_all()
        elif met == "error":
            self._client.fail()

    async def _report(self) -> None:
        before = (self._client.prompted, self._client.generated)
        idle = True
        while True:
            await asyncio.sleep(STATISTICS_EVERY)
            now = (self._client.prompted, self._client.generated)
            prompts, tokens = ((new - old) / STATISTICS_EVERY for new, old in zip(now, before, strict=True))
            if prompts or tokens or not idle:
                stats = self._client.last_stats
                rates = (
                    f"Avg prompt throughput: {prompts:.1f} tokens/s, Avg generation throughput: {tokens:.1f} tokens/s"
                )
                queue = f"Running: {stats.running} reqs, Waiting: {stats.waiting} reqs"
                cache = f"GPU KV cache usage: {stats.kv_usage:.1%}, Prefix cache hit rate: 0.0%"
                log.info("loggers.py", f"Engine 000: {rates}, {queue}, {cache}")
            idle = not (prompts or tokens)
            before = now


def bind(host: str, port: int) -> socket.socket:
    """Take the port before the engine starts, as vLLM does; it is refused until the server listens.

    :raises OSError: the address is taken or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    return sock
