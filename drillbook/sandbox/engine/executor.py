"""EngineCore's side of its workers: starts them, gives all of them each step, waits for all of them."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from drillbook import clock
from drillbook.sandbox.engine import log, process, wire
from drillbook.sandbox.engine.group import Group
from drillbook.sandbox.engine.settings import Settings
from drillbook.sandbox.engine.worker import Worker, pair


class ExecutorError(Exception):
    """The workers can run no more steps. There is no way back: EngineCore ends."""


class WorkerDiedError(ExecutorError):
    """A worker died. Its peers are ended before anyone is told, which may take seconds."""


class StepFailedError(ExecutorError):
    """A step can not be finished: a worker did not answer within ``VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS``, or one on
    another node is gone. This is told at once.
    """


@dataclass
class Peer:
    """One worker as its EngineCore sees it. ``pid`` is 0 for a worker on another node."""

    rank: int
    pid: int
    channel: wire.Channel


class Executor:
    """The group of workers of one engine."""

    def __init__(self, settings: Settings, group: Group) -> None:
        self._settings = settings
        self._group = group
        self._peers: list[Peer] = []
        self._number = 0

    def start(self, inherited: Sequence[socket.socket]) -> None:
        """Fork the workers, join them to a ring, wait until the model is loaded.

        ``inherited`` are this process's sockets that no worker may hold.

        :raises ExecutorError: a worker died while it was loading.
        """
        try:
            entry = self._group.listen() if self._group.elsewhere else None
        except OSError as error:
            raise ExecutorError(f"{self._group.host}:{self._group.port}: {error.strerror}") from error
        host = os.environ.get("VLLM_HOST_IP") or (self._group.host if entry else "127.0.0.1")
        ours = [*inherited, *([entry] if entry else [])]
        for rank in self._group.ranks:
            mine, theirs = pair()
            worker = Worker(rank, host, wire.Channel(theirs), self._settings)
            ours.append(mine)
            pid = process.spawn(self._group.title(rank), worker.run, keep=theirs, close=ours)
            self._peers.append(Peer(rank, pid, wire.Channel(mine)))
        if entry is not None:
            for _ in range(self._group.elsewhere):
                self._peers.append(Peer(-1, 0, wire.Channel(entry.accept()[0])))
            entry.close()
        self._join()

    def _join(self) -> None:
        places: dict[int, wire.Hello] = {}
        for peer in self._peers:
            hello = peer.channel.one()
            if not isinstance(hello, wire.Hello):
                raise ExecutorError(f"worker {peer.rank} died before it joined the group")
            peer.rank = hello.rank
            places[peer.rank] = hello
        world = self._group.world
        for peer in self._peers:
            following = places[(peer.rank + 1) % world]
            peer.channel.send(wire.Join(following.host, following.port, world))
        for peer in self._peers:
            if not isinstance(peer.channel.one(), wire.Loaded):
                raise ExecutorError(f"worker {peer.rank} died while it loaded the model")

    def channels(self) -> list[wire.Channel]:
        """What becomes readable when a worker of this node dies between two steps; of others it shows in the next."""
        return [peer.channel for peer in self._peers if peer.pid]

    def execute(self, tokens: int, seconds: float) -> None:
        """Run one step on every worker, and wait for every worker.

        :raises WorkerDiedError: one died.
        :raises StepFailedError: one did not answer in time, or one on another node is gone.
        """
        self._number += 1
        order = wire.Execute(self._number, seconds, self._settings.bytes_of(tokens, self._group))
        for peer in self._peers:
            try:
                peer.channel.send(order)
            except OSError:
                raise self.died(peer) from None
        missing = {peer.channel.fileno(): peer for peer in self._peers}
        deadline = clock.monotonic() + self._settings.execute_timeout
        while missing:
            readable, _, _ = select.select(list(missing), [], [], max(0.0, deadline - clock.monotonic()))
            if not readable:
                raise StepFailedError("RPC call to execute_model timed out.")
            for number in readable:
                if missing[number].channel.one() is None:
                    raise self.died(missing[number])
                del missing[number]

    def died(self, peer: Peer) -> ExecutorError:
        """What is said of a dead worker: by the executor's monitor, or, on another node, by its peers' sockets."""
        if not peer.pid:
            # Measured on two nodes: 3 s from the far worker's death to the first 503.
            select.select([], [], [], self._settings.leave)
            return StepFailedError(f"Connection closed by peer: rank {peer.rank}")
        name = self._group.title(peer.rank).replace("Worker", "VllmWorker")
        log.error("multiproc_executor.py", f"Worker proc {name} died unexpectedly, shutting down executor.")
        return WorkerDiedError("Executor failed.")

    def check(self, readable: Sequence[wire.Channel]) -> None:
        """Between two steps: a worker's channel that became readable tells of its death.

        :raises WorkerDiedError: one died.
        """
        for peer in self._peers:
            if peer.channel in readable:
                raise self.died(peer)

    def stop(self) -> None:
        """Close the workers' pipes, so that they leave, and end those that do not."""
        for peer in self._peers:
            peer.channel.close()
        left = [peer.pid for peer in self._peers if peer.pid]
        log.info("multiproc_executor.py", f"[shutdown] Executor: waiting for worker exit count={len(left)}")
        process.end(left, grace=self._settings.worker_grace, term=self._settings.worker_term)
