"""``VLLM::Worker``: runs a step when EngineCore says so, exchanging bytes with its peers, then answers.

One thread, blocking sockets: idle, it costs nothing; stopped, it holds up EngineCore and so the whole engine.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time

from drillbook.sandbox.engine import log, wire
from drillbook.sandbox.engine.ring import Ring
from drillbook.sandbox.engine.settings import Settings


class Worker:
    """One rank of the group. ``remote``: its EngineCore is on another node, whose end it does not notice (measured:
    it was there, and its node looked well, more than a minute after).
    """

    def __init__(
        self, rank: int, host: str, channel: wire.Channel, settings: Settings, *, remote: bool = False
    ) -> None:
        self.rank = rank
        self._host = host
        self._channel = channel
        self._settings = settings
        self._remote = remote
        self._collective = False
        self._terminated = False

    def run(self) -> int:
        """Serve until EngineCore has gone; returns the exit code."""
        signal.signal(signal.SIGTERM, self._terminate)
        ring = Ring(self._host)
        self._channel.send(wire.Hello(self.rank, *ring.address))
        join = self._channel.one()
        if not isinstance(join, wire.Join):
            return 0
        if join.world > 1:
            words = f"world_size={join.world} rank={self.rank} local_rank=0"
            log.info("parallel_state.py", f"{words} distributed_init_method=tcp://{self._host} backend=gloo")
            ring.join(join.host, join.port, join.world)
        log.info("gpu_model_runner.py", "Starting to load model...")
        time.sleep(self._settings.load)
        self._channel.send(wire.Loaded())
        while True:
            message = self._channel.one()
            if not isinstance(message, wire.Execute):
                if self._remote:
                    self._collective = True
                    self._stuck()
                time.sleep(self._settings.leave)
                return 0
            time.sleep(message.seconds)
            self._collective = True
            if not ring.all_reduce(message.size):
                self._stuck()
            self._collective = False
            if self._terminated:
                self._terminate(signal.SIGTERM, None)
            with contextlib.suppress(OSError):  # EngineCore has gone: the next read says so
                self._channel.send(wire.Done(message.number))

    def _terminate(self, number: int, frame: object) -> None:
        # A collective is native code: Python's handler of SIGTERM runs only when it returns.
        self._terminated = True
        if not self._collective:
            time.sleep(self._settings.leave)
            os._exit(0)

    def _stuck(self) -> None:
        # A rank whose peer died stays in the collective until it is killed (measured: 5 s of grace and 4 s after
        # SIGTERM both run out before vLLM's /health turns 503).
        log.warning("worker.py", "a peer has gone; waiting in the collective")
        while True:
            signal.pause()


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends of a connection between two processes of one pod."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
