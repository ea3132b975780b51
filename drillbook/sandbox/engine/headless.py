"""A node without an API server (``--headless``): its first process starts workers for another node's engine."""

from __future__ import annotations

import os
import signal
from functools import partial

from drillbook.sandbox.engine import log, process, wire
from drillbook.sandbox.engine.group import Group
from drillbook.sandbox.engine.settings import Settings
from drillbook.sandbox.engine.worker import Worker, title


def run(group: Group, settings: Settings) -> int:
    """Run this node's workers until one of them ends; returns the exit code."""
    log.info("serve.py", f"Launching vLLM headless multiproc executor, with head node {group.host}:{group.port}")

    def work(rank: int) -> int:
        sock = group.connect()
        host = os.environ.get("VLLM_HOST_IP") or sock.getsockname()[0]
        return Worker(rank, host, wire.Channel(sock), settings).run()

    pids = [process.spawn(title(rank, group.world), partial(work, rank)) for rank in group.ranks]

    def end(number: int, frame: object) -> None:
        for pid in pids:
            process.kill(pid, signal.SIGKILL)
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while not set(process.wait()) & set(pids):
        continue
    log.error("multiproc_executor.py", "Worker proc VllmWorker died unexpectedly, shutting down executor.")
    for pid in pids:
        process.kill(pid, signal.SIGKILL)
    return 0
