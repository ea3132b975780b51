"""Measuring a link with a train of ICMP echoes: the peer's kernel answers, so nothing need run there.

The train meets the same queues as the ranks' own traffic between the two addresses, in both directions. The rate is
read off the spacing of the answers (packet train dispersion: Jain and Routhier, "Packet Trains", 1986), without the
first few, which a queue lets through at once. While ranks talk they share the link, and the rate read is what is left.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from dataclasses import asdict, dataclass
from typing import Any

from drillbook import clock

SIZE = 1400
"""Bytes of payload: one Ethernet frame."""
OVERHEAD = 42
"""Ethernet, IP and ICMP headers: queues count them."""
AT_ONCE = 4
"""Answers that are not counted: as many as a queue's burst lets through."""
PATIENCE = 1.0
"""Seconds without any answer after which the rest counts as lost."""
LONGEST = 10.0
"""Seconds after which a train is not waited for any more, however slowly its answers come."""
_ECHO, _REPLY = 8, 0


@dataclass(frozen=True)
class Train:
    """What came back. ``rate`` (bits a second) and ``round_trip`` (seconds, the first answer's) are None unread."""

    peer: str
    sent: int
    answered: int
    rate: float | None
    round_trip: float | None

    @property
    def lost(self) -> float:
        """The share that was not answered."""
        return 1 - self.answered / self.sent

    def told(self) -> dict[str, Any]:
        """As a helper tells it."""
        return asdict(self) | {"lost": self.lost}


def train(peer: str, count: int, *, size: int = SIZE, patience: float = PATIENCE) -> Train:
    """Send ``count`` echoes at once and wait for the answers, until none comes for ``patience`` seconds.

    :raises OSError: no raw socket may be opened here, or there is no way to the peer.
    """
    identity = struct.unpack("!H", os.urandom(2))[0]
    arrived: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.connect((peer, 0))
        began = clock.monotonic()
        for number in range(count):
            try:
                sock.send(_packet(identity, number, bytes(size)))
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # a full queue dropped it: it counts as lost
                    raise
        last = began
        while len(arrived) < count:
            until = min(last + patience, began + LONGEST)
            ready, _, _ = select.select([sock], [], [], max(0.0, until - clock.monotonic()))
            if not ready:
                break
            now = clock.monotonic()
            answer = sock.recv(65536)
            start = (answer[0] & 0x0F) * 4
            kind, _, _, who, number = struct.unpack_from("!BBHHH", answer, start)
            if (kind, who) == (_REPLY, identity) and number not in arrived:
                arrived[number] = last = now
    return Train(peer, count, len(arrived), rate(sorted(arrived.values()), size), _first(arrived, began))


def rate(times: list[float], size: int) -> float | None:
    """Bits a second, by when the answers came; None where there are too few."""
    counted = times[AT_ONCE:]
    if len(counted) < 4 or counted[-1] <= counted[0]:
        return None
    return (len(counted) - 1) * (size + OVERHEAD) * 8 / (counted[-1] - counted[0])


def _first(arrived: dict[int, float], began: float) -> float | None:
    return min(arrived.values()) - began if arrived else None


def _packet(identity: int, number: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHH", _ECHO, 0, 0, identity, number)
    return struct.pack("!BBHHH", _ECHO, 0, checksum(head + payload), identity, number) + payload


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
