"""A node without an API server (``--headless``): its first process starts workers for another node's engine."""

from __future__ import annotations

import os
import signal
from functools import partial

from drillbook.sandbox.engine import log, process, wire
from drillbook.sandbox.engine.group import Group
from drillbook.sandbox.engine.settings import Settings
from drillbook.sandbox.engine.worker import Worker


def run(group: Group, settings: Settings) -> int:
    """Run this node's workers until one of them ends, or SIGTERM comes; returns the exit code."""
    log.info("serve.py", f"Launching vLLM headless multiproc executor, with head node {group.host}:{group.port}")

    def work(rank: int) -> int:
        sock = group.connect()
        host = os.environ.get("VLLM_HOST_IP") or sock.getsockname()[0]
        return Worker(rank, host, wire.Channel(sock), settings, remote=True).run()

    pids = [process.spawn(group.title(rank), partial(work, rank)) for rank in group.ranks]

    def end(number: int, frame: object) -> None:
        log.info("multiproc_executor.py", f"[shutdown] Executor: waiting for worker exit count={len(pids)}")
        process.end(pids, grace=settings.worker_grace, term=settings.worker_term)
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    while not set(process.wait()) & set(pids):
        continue
    log.error("multiproc_executor.py", "Worker proc VllmWorker died unexpectedly, shutting down executor.")
    process.end(pids, grace=0.0, term=0.0)
    return 0
