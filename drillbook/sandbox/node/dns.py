"""The sandbox's DNS: names of Services and of pods behind headless ones; there is no world outside."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct

from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.node.service_table import ServiceTable

_log = logging.getLogger(__name__)
IP_FREEBIND = 15
"""Bind an address that the agent may be about to make (``linux/in.h``)."""
_ZONE = "svc.cluster.local"
_A, _ANY, _IN = 1, 255, 1
_NO_ERROR, _NO_SUCH_NAME, _NOT_IMPLEMENTED = 0, 3, 4
_TTL = 5
"""Seconds; CoreDNS's ``kubernetes`` plugin has the same default."""


class Resolver(asyncio.DatagramProtocol):
    """Answers A queries over UDP at the gateway's address."""

    def __init__(self, config: SandboxConfig, table: ServiceTable) -> None:
        self._config = config
        self._table = table
        self._transport: asyncio.DatagramTransport | None = None

    async def run(self) -> None:
        """Answer until cancelled; without the right to bind port 53 there is no DNS, which is said once."""
        loop = asyncio.get_running_loop()
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            listener.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            listener.bind((self._config.gateway, 53))
            self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=listener)
        except OSError as error:
            listener.close()
            _log.warning("no DNS for pods: cannot listen on %s:53: %s", self._config.gateway, error.strerror)
            return
        try:
            await asyncio.Event().wait()
        finally:
            self._transport.close()

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        try:
            reply = self._reply(data)
        except (struct.error, IndexError, UnicodeDecodeError):
            return  # not a DNS query
        if self._transport is not None:
            self._transport.sendto(reply, address)

    def _reply(self, data: bytes) -> bytes:
        number, flags, questions = struct.unpack_from("!HHH", data)
        name, end = _read_name(data, 12)
        kind, klass = struct.unpack_from("!HH", data, end)
        question = data[12 : end + 4]
        if questions != 1 or klass != _IN or (flags >> 11) & 0xF:
            return struct.pack("!HHHHHH", number, 0x8400 | _NOT_IMPLEMENTED, 0, 0, 0, 0)
        found = self.addresses(name)
        code = _NO_SUCH_NAME if found is None else _NO_ERROR
        rows = found if found and kind in (_A, _ANY) else []
        header = struct.pack("!HHHHHH", number, 0x8400 | (flags & 0x0100) | 0x80 | code, 1, len(rows), 0, 0)
        answers = b"".join(struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL, 4) + socket.inet_aton(row) for row in rows)
        return header + question + answers

    def addresses(self, name: str) -> list[str] | None:
        """The addresses of a name; None where it does not exist."""
        labels = name.lower().rstrip(".").removesuffix(_ZONE).rstrip(".").split(".")
        if not name.lower().rstrip(".").endswith(_ZONE) or len(labels) not in (2, 3):
            return None
        namespace, service = labels[-1], labels[-2]
        found = self._table.services.get((namespace, service))
        if found is None:
            return None
        cluster_ip = found["spec"].get("clusterIP")
        if cluster_ip not in (None, "", "None"):
            return [cluster_ip] if len(labels) == 2 else None
        early = bool(found["spec"].get("publishNotReadyAddresses"))
        endpoints = [one for one in self._table.endpoints(namespace, service) if one.ready or early]
        if len(labels) == 3:
            endpoints = [one for one in endpoints if one.hostname == labels[0]]
        return [one.address for one in endpoints] or None


def _read_name(data: bytes, position: int) -> tuple[str, int]:
    labels = []
    while length := data[position]:
        if length > 63:
            raise IndexError("compressed names do not occur in questions")
        labels.append(data[position + 1 : position + 1 + length].decode("ascii"))
        position += 1 + length
    return ".".join(labels), position + 1
