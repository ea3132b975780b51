"""The agent's side of the runtime's socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from drillbook.errors import DrillbookError
from drillbook.sandbox.node.runtime import LARGEST_MESSAGE, socket_in
from drillbook.sandbox.node.spec import ContainerRecord, ContainerSpec, Exit


class RuntimeCallError(DrillbookError):
    """The runtime refused; the message is what a container runtime would report."""


class RuntimeClient:
    """One connection. ``on_exit`` is called with each container's id and end; ``on_lost`` once, when it breaks."""

    def __init__(self, folder: Path, on_exit: Callable[[str, Exit], None], on_lost: Callable[[], None]) -> None:
        self._folder = folder
        self._on_exit = on_exit
        self._on_lost = on_lost
        self.isolated = False
        """Whether containers have PID and mount namespaces; known after :meth:`containers`."""
        self._numbers = itertools.count()
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._execs: dict[str, asyncio.Future[int]] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    async def connect(self, deadline: float = 10.0) -> None:
        """:raises RuntimeCallError: nothing listens within ``deadline`` seconds."""
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LARGEST_MESSAGE * 2)
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline
        while True:
            try:
                with socket_in(self._folder) as path:
                    self._socket.connect(path)
                break
            except OSError as error:
                if loop.time() > end:
                    raise RuntimeCallError(f"no container runtime answers in {self._folder}: {error}") from None
                await asyncio.sleep(0.01)
        loop.add_reader(self._socket, self._receive)

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()

    async def containers(self) -> list[ContainerRecord]:
        reply = await self._call("list")
        self.isolated = bool(reply["isolated"])
        return msgspec.convert(reply["containers"], list[ContainerRecord])

    async def network(self, pod: str) -> str:
        """Make the pod's network namespace if it is not there; a path that opens it."""
        return str((await self._call("network", pod=pod))["path"])

    async def start(self, spec: ContainerSpec) -> int:
        """Start a container and return its main process's pid on the machine.

        :raises RuntimeCallError: its program could not be started.
        """
        return int((await self._call("start", spec=str(_written(spec))))["pid"])

    async def signal(self, container: str, number: int) -> None:
        """Signal the main process; nothing happens when it has ended."""
        with contextlib.suppress(RuntimeCallError):
            await self._call("signal", id=container, signal=number)

    async def signal_exec(self, pid: int, number: int) -> None:
        await self._call("signal", pid=pid, signal=number)

    async def exec(self, container: str, argv: Sequence[str], env: Mapping[str, str], stdio: tuple[int, int, int], *,
                   tty: bool = False) -> tuple[int, asyncio.Future[int]]:  # fmt: skip
        """Start ``argv`` beside the container's process with these descriptors. Its pid, and its exit code to come.

        :raises RuntimeCallError: refused, or the program could not be started.
        """
        token = f"{container[:12]}-{next(self._numbers)}"
        ended = self._execs[token] = asyncio.get_running_loop().create_future()
        try:
            reply = await self._call("exec", stdio, id=container, token=token, argv=list(argv), env=dict(env), tty=tty)
        except RuntimeCallError:
            self._execs.pop(token, None)
            raise
        return int(reply["pid"]), ended

    async def forget_pod(self, pod: str) -> None:
        await self._call("forget_pod", pod=pod)

    async def _call(self, op: str, fds: Sequence[int] = (), **arguments: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = msgspec.json.encode({"op": op, "n": number, **arguments})
        if len(message) > LARGEST_MESSAGE:
            raise RuntimeCallError(f"{op}: the command line is longer than {LARGEST_MESSAGE} bytes")
        reply = self._replies[number] = asyncio.get_running_loop().create_future()
        while True:
            try:
                socket.send_fds(self._socket, [message], list(fds))
                break
            except BlockingIOError:
                await asyncio.sleep(0.001)
            except OSError as error:
                raise RuntimeCallError(f"the container runtime is gone: {error}") from None
        answer: dict[str, Any] = await reply
        if "error" in answer:
            raise RuntimeCallError(answer["error"])
        return answer

    def _receive(self) -> None:
        try:
            data = self._socket.recv(LARGEST_MESSAGE * 8)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        message = msgspec.json.decode(data)
        if "n" in message:
            reply = self._replies.pop(message["n"], None)
            if reply is not None and not reply.done():
                reply.set_result(message)
        elif message["event"] == "exited":
            self._on_exit(message["id"], msgspec.convert(message["exit"], Exit))
        else:
            ended = self._execs.pop(message["token"], None)
            if ended is not None and not ended.done():
                ended.set_result(message["code"])

    def _lost(self) -> None:
        self.close()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result({"error": "the container runtime is gone"})
        for ended in self._execs.values():
            if not ended.done():
                ended.set_result(137)
        self._on_lost()


def _written(spec: ContainerSpec) -> Path:
    path = Path(spec.folder, "spec.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(spec))
    return path
