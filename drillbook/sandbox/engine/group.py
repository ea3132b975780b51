"""How the ranks of one engine lie on its nodes, and how workers of other nodes find the first one."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

RETRY = 0.1


@dataclass(frozen=True)
class Group:
    """``--nnodes``, ``--node-rank``, ``--master-addr``, ``--master-port``; ``world`` is the tensor parallel size times
    the pipeline parallel size, ``stages``.
    """

    world: int
    nodes: int = 1
    node: int = 0
    host: str = "127.0.0.1"
    port: int = 29501
    stages: int = 1

    @property
    def ranks(self) -> range:
        """The ranks of this node."""
        share = self.world // self.nodes
        return range(self.node * share, (self.node + 1) * share)

    def title(self, rank: int) -> str:
        """How vLLM names a rank's process: by its stage and by its place in it, only where there are several."""
        tensor = self.world // self.stages
        stage = f"_PP{rank // tensor}" if self.stages > 1 else ""
        return f"Worker{stage}" + (f"_TP{rank % tensor}" if tensor > 1 else "")

    @property
    def elsewhere(self) -> int:
        """How many ranks are on other nodes."""
        return self.world - len(self.ranks)

    def listen(self) -> socket.socket:
        """Where the first node waits for the workers of the others.

        :raises OSError: ``--master-addr`` is not this node's, or the port is taken.
        """
        return socket.create_server((self.host, self.port))

    def connect(self) -> socket.socket:
        """A connection to the first node; waits for as long as that is not there."""
        while True:
            with contextlib.suppress(OSError):
                return socket.create_connection((self.host, self.port))
            time.sleep(RETRY)
