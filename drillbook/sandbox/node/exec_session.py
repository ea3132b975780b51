"""One ``kubectl exec``: a process in a container, its streams multiplexed over a WebSocket (``v5.channel.k8s.io``, v4).

Each binary message starts with its channel: 0 stdin, 1 stdout, 2 stderr, 3 the final Status, 4 the terminal's size, and
in v5 255 to close a channel.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import termios

from aiohttp import WSMsgType, web

from drillbook.sandbox.node.runtime_client import RuntimeCallError, RuntimeClient
from drillbook.sandbox.node.spec import ContainerSpec

_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDIN, _STDOUT, _STDERR, _STATUS, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK = 32 * 1024
_DRAIN = 1.0
"""Seconds for output that is still on its way when the process has ended."""


async def serve(request: web.Request, runtime: RuntimeClient, spec: ContainerSpec) -> web.WebSocketResponse:
    """Run the query's ``command`` until it ends, or the client goes away."""
    socket = web.WebSocketResponse(protocols=_PROTOCOLS, max_msg_size=4 * 1024 * 1024)
    await socket.prepare(request)
    query = request.query
    wants = {name for name in ("stdin", "stdout", "stderr", "tty") if query.get(name) in ("true", "1")}
    session = _Session(socket, runtime, spec, wants)
    try:
        await session.run(query.getall("command", []))
    finally:
        session.close()
    await socket.close()
    return socket


class _Session:
    def __init__(self, socket: web.WebSocketResponse, runtime: RuntimeClient, spec: ContainerSpec,
                 wants: set[str]) -> None:  # fmt: skip
        self._socket = socket
        self._runtime = runtime
        self._spec = spec
        self._wants = wants
        self._input = -1
        self._terminal = -1
        self._fds: set[int] = set()

    async def run(self, argv: list[str]) -> None:
        tty = "tty" in self._wants
        child, outputs = self._open_terminal() if tty else self._open_pipes()
        env = {**self._spec.env, **({"TERM": "xterm"} if tty else {})}
        try:
            pid, code = await self._runtime.exec(self._spec.id, argv or ["sh"], env, child, tty=tty)
        except RuntimeCallError as error:
            await self._finish(_failure(f"failed to exec in container: {error.message}", None))
            return
        finally:
            for fd in set(child):
                self._close(fd)
        reading = asyncio.create_task(self._read_client())
        copying = [asyncio.create_task(self._copy(fd, channel)) for fd, channel in outputs]
        await asyncio.wait([reading, code], return_when=asyncio.FIRST_COMPLETED)  # type: ignore[type-var]  # both end
        if not code.done():  # the client went away: what it started must not linger
            await self._runtime.signal_exec(pid, 1)
            self._close_input()
            await asyncio.wait([code], timeout=_DRAIN)
            if not code.done():
                await self._runtime.signal_exec(pid, 9)
        result = await code
        await asyncio.wait(copying, timeout=_DRAIN)
        for task in (reading, *copying):
            task.cancel()
        await asyncio.gather(reading, *copying, return_exceptions=True)
        text = f"command terminated with non-zero exit code: exit status {result}"
        await self._finish({"metadata": {}, "status": "Success"} if result == 0 else _failure(text, result))

    def _open_terminal(self) -> tuple[tuple[int, int, int], list[tuple[int, int]]]:
        master, slave = pty.openpty()
        self._fds |= {master, slave}
        self._terminal, self._input = master, os.dup(master)
        self._fds.add(self._input)
        return (slave, slave, slave), [(master, _STDOUT)]

    def _open_pipes(self) -> tuple[tuple[int, int, int], list[tuple[int, int]]]:
        if "stdin" in self._wants:
            stdin, self._input = os.pipe2(os.O_CLOEXEC)
            self._fds |= {stdin, self._input}
        else:
            stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
            self._fds.add(stdin)
        ends, outputs = [], []
        for channel in (_STDOUT, _STDERR):
            read, write = os.pipe2(os.O_CLOEXEC)
            self._fds |= {read, write}
            ends.append(write)
            outputs.append((read, channel))
        return (stdin, ends[0], ends[1]), outputs

    async def _copy(self, fd: int, channel: int) -> None:
        """From the process to the client, until the process's end is closed."""
        loop = asyncio.get_running_loop()
        os.set_blocking(fd, False)
        ready = asyncio.Event()
        loop.add_reader(fd, ready.set)
        try:
            while True:
                await ready.wait()
                ready.clear()
                try:
                    data = os.read(fd, _CHUNK)
                except BlockingIOError:
                    continue
                except OSError:  # EIO: nobody holds the terminal any more
                    return
                if not data:
                    return
                await self._send(channel, data)
        finally:
            loop.remove_reader(fd)

    async def _read_client(self) -> None:
        async for message in self._socket:
            if message.type is not WSMsgType.BINARY or not message.data:
                continue
            channel, data = message.data[0], message.data[1:]
            if channel == _STDIN and self._input >= 0:
                await self._write(data)
            elif channel == _CLOSE and data[:1] == bytes([_STDIN]):
                self._close_input()
            elif channel == _RESIZE and self._terminal >= 0:
                size = json.loads(data)
                packed = struct.pack("HHHH", size.get("Height", 24), size.get("Width", 80), 0, 0)
                fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, packed)

    async def _write(self, data: bytes) -> None:
        os.set_blocking(self._input, False)
        while data:
            try:
                data = data[os.write(self._input, data) :]
            except BlockingIOError:
                await asyncio.sleep(0.005)
            except OSError:  # the process does not read any more
                self._close_input()
                return

    def _close_input(self) -> None:
        if self._terminal < 0 and self._input >= 0:
            self._close(self._input)
            self._input = -1

    async def _send(self, channel: int, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            await self._socket.send_bytes(bytes([channel]) + data)

    async def _finish(self, status: dict[str, object]) -> None:
        await self._send(_STATUS, json.dumps(status).encode())

    def _close(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.discard(fd)
            os.close(fd)

    def close(self) -> None:
        for fd in list(self._fds):
            self._close(fd)


def _failure(message: str, code: int | None) -> dict[str, object]:
    status: dict[str, object] = {"metadata": {}, "status": "Failure", "message": message, "reason": "InternalError"}
    if code is not None:
        status["reason"] = "NonZeroExitCode"
        status["details"] = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    return status
