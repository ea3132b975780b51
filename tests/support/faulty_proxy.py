"""A reverse proxy in front of an API server that can be told to fail as one fails: slowly, with 429, 500 or 401, or by
closing what it had accepted. Each connection carries one request, so that each request can be treated on its own.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import yaml


@dataclass(frozen=True)
class Answer:
    """Instead of the API server's: a Status of this code. 0 closes the connection without a word."""

    code: int
    retry_after: str = ""
    body: bytes = b""


@dataclass(frozen=True)
class Delay:
    """The API server's own answer, so many seconds late."""

    seconds: float


@dataclass(frozen=True)
class Lost:
    """The API server carries the request out, and its answer never arrives."""


Fault = Answer | Delay | Lost | None


class FaultyProxy:
    """Set ``fault`` to a function of method and path; ``None`` passes a request on."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.fault: Callable[[str, str], Fault] = lambda _method, _path: None
        self.refused: list[str] = []
        self.tokens: set[str] = set()
        """The bearer tokens that came with requests."""
        self._watches: set[socket.socket] = set()
        proxy = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    proxy._serve(self.request)

        class Server(socketserver.ThreadingTCPServer):
            allow_reuse_address = daemon_threads = True
            block_on_close = False
            request_queue_size = 128

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.close_watches()

    def close_watches(self) -> int:
        """End every watch that is open, as a restarted load balancer would; how many there were."""
        ended = list(self._watches)
        for each in ended:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        return len(ended)

    def kubeconfig(self, path: Path, namespace: str = "llm", token: str = "") -> Path:
        """Write one that leads here, with a bearer token."""
        document = {
            "apiVersion": "v1", "kind": "Config", "current-context": "faulty",
            "clusters": [{"name": "faulty", "cluster": {"server": self.url}}],
            "users": [{"name": "faulty", "user": {"token": token} if token else {}}],
            "contexts": [
                {"name": "faulty", "context": {"cluster": "faulty", "user": "faulty", "namespace": namespace}}
            ],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document))
        return path

    def _serve(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            piece = client.recv(65536)
            if not piece:
                return
            head += piece
        head, _, body = head.partition(b"\r\n\r\n")
        first, *headers = head.split(b"\r\n")
        method, path, _ = first.decode().split(" ", 2)
        said = [line.partition(b":")[2].decode() for line in headers if line.lower().startswith(b"authorization:")]
        self.tokens |= {each.strip().removeprefix("Bearer ") for each in said}
        fault = self.fault(method, path)
        if isinstance(fault, Answer):
            self.refused.append(f"{method} {path}")
            self._drain(client, headers, len(body))
            _answer(client, fault)
            return
        if isinstance(fault, Delay):
            time.sleep(fault.seconds)
        upgrade = any(line.lower().startswith(b"upgrade:") for line in headers)
        if not upgrade:
            headers = [line for line in headers if not line.lower().startswith(b"connection:")] + [b"Connection: close"]
        with socket.create_connection(self._upstream, timeout=10) as server:
            server.settimeout(None)
            server.sendall(b"\r\n".join([first, *headers, b"", b""]) + body)
            if "watch=true" in path:
                self._watches.add(client)
            try:
                if isinstance(fault, Lost):
                    while server.recv(65536):
                        pass
                    return
                _pump(client, server)
            finally:
                self._watches.discard(client)

    @staticmethod
    def _drain(client: socket.socket, headers: list[bytes], read: int) -> None:
        length = next((int(line.split(b":")[1]) for line in headers if line.lower().startswith(b"content-length:")), 0)
        while read < length:
            piece = client.recv(65536)
            if not piece:
                return
            read += len(piece)


def _answer(client: socket.socket, fault: Answer) -> None:
    if not fault.code:
        return
    status = {"kind": "Status", "apiVersion": "v1", "code": fault.code, "message": "so the test wants it"}
    body = fault.body or json.dumps(status).encode()
    head = [
        f"HTTP/1.1 {fault.code} No",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    head += [f"Retry-After: {fault.retry_after}"] if fault.retry_after else []
    client.sendall("\r\n".join([*head, "", ""]).encode() + body)


def _pump(one: socket.socket, other: socket.socket) -> None:
    """Pass on what either says until both have ended."""
    heirs = {one: other, other: one}
    while heirs:
        ready, _, _ = select.select(list(heirs), [], [], 120)
        if not ready:
            return
        for each in ready:
            piece = each.recv(65536)
            if piece:
                heirs[each].sendall(piece)
                continue
            heir = heirs.pop(each)
            if each is other:
                return  # the server has said all
            with contextlib.suppress(OSError):
                heir.shutdown(socket.SHUT_WR)
