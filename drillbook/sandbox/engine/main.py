"""``sim``'s entry: from vLLM's command line to an exit code.

It may be run by ``exec`` or called in a child forked from a warm process, where it may be the first process of a
container: it takes SIGTERM itself, and reaps whatever ends below it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace

from setproctitle import setproctitle

from drillbook.errors import UsageError
from drillbook.sandbox.engine import arguments, headless, lifecycle, log, process, wire
from drillbook.sandbox.engine.engine_client import EngineClient
from drillbook.sandbox.engine.engine_core import Capacity, EngineCore
from drillbook.sandbox.engine.group import Group
from drillbook.sandbox.engine.http_series import HTTPSeries, ProcessSeries
from drillbook.sandbox.engine.http_server import HTTPServer
from drillbook.sandbox.engine.metrics import Registry
from drillbook.sandbox.engine.routes import VERSION, Routes
from drillbook.sandbox.engine.scheduler import Limits
from drillbook.sandbox.engine.series import EngineSeries
from drillbook.sandbox.engine.settings import Settings
from drillbook.sandbox.engine.worker import pair


def main(argv: Sequence[str] | None = None) -> int:
    """Run one server with vLLM's arguments (``sys.argv`` without its first word by default); returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    try:
        given = arguments.parse(words)
    except SystemExit as stop:  # argparse's way to refuse, or to end after --help
        return stop.code if isinstance(stop.code, int) else 2
    try:
        settings = Settings.of(os.environ)
        if given.load_format == "dummy":
            settings = replace(settings, seed=settings.seed + 1)
    except UsageError as error:
        sys.stderr.write(f"vllm serve: error: {error}\n{error.hint}\n")
        return int(error.exit_code)
    # The first process of a container ignores signals without a handler: until there is a server, SIGTERM just ends it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: os._exit(0))
    setproctitle(" ".join(["vllm", "serve", *words]))
    log.name_process("APIServer")
    log.info("api_utils.py", f"vLLM API server version {VERSION} (simulated by drillbook), model {given.model}")
    for name in given.ignored:
        log.info("api_utils.py", f"{name} has no effect on a simulated engine")
    if refusal := impossible(given):
        log.error("launcher.py", refusal)
        return 1
    held = (given.num_gpu_blocks_override - 1) * given.block_size
    if held < given.max_model_len:
        log.error(
            "core.py",
            f"KV cache holds {held} tokens, one request may need {given.max_model_len}: raise the "
            "blocks or lower --max-model-len",
        )
        return failed()
    stages = given.pipeline_parallel_size
    world = given.tensor_parallel_size * stages
    group = Group(world, given.nnodes, given.node_rank, given.master_addr, given.master_port, stages)
    if given.headless:
        return headless.run(group, settings)
    try:
        sock = lifecycle.bind(given.host, given.port)
    except OSError as error:
        log.error("launcher.py", f"{given.host or '*'}:{given.port}: {error.strerror}")
        return 1
    engine = start_engine(given, settings, group, sock)
    if not isinstance(wire.Channel(engine.socket).one(), wire.Ready):
        return failed()
    log.info("entry.py", f"Starting vLLM server on http://{given.host or '0.0.0.0'}:{given.port}")  # noqa: S104 -- shown
    return asyncio.run(serve(given, settings, engine, sock))


def impossible(given: Namespace) -> str:
    """Why vLLM's scheduler refuses these arguments; empty where it takes them."""
    tokens = given.max_num_batched_tokens
    if not given.enable_chunked_prefill and tokens < given.max_model_len:
        return (
            f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({given.max_model_len}): without chunked "
            "prefill a longer prompt would never run"
        )
    if tokens < given.max_num_seqs:
        return f"max_num_batched_tokens ({tokens}) must be at least max_num_seqs ({given.max_num_seqs})"
    return ""


def failed() -> int:
    """The engine never came up: vLLM's words, and its exit code."""
    log.error("utils.py", "Engine core initialization failed. See root cause above.")
    return 1


def start_engine(given: Namespace, settings: Settings, group: Group, listening: socket.socket) -> lifecycle.Engine:
    """Fork EngineCore, which forks its workers."""
    ours, theirs = pair()
    capacity = Capacity(
        blocks=given.num_gpu_blocks_override,
        block_size=given.block_size,
        limits=Limits(
            sequences=given.max_num_seqs,
            tokens=given.max_num_batched_tokens,
            chunked=given.enable_chunked_prefill,
            long_prefill=given.long_prefill_token_threshold,
            whole_input=given.scheduler_reserve_full_isl,
        ),
    )
    core = EngineCore(settings, capacity, group, wire.Channel(theirs))
    pid = process.spawn("EngineCore", core.run, keep=theirs, close=[ours, listening])
    return lifecycle.Engine(pid, ours)


async def serve(given: Namespace, settings: Settings, engine: lifecycle.Engine, sock: socket.socket) -> int:
    """Everything that needs a running event loop; returns the exit code."""
    registry = Registry()
    own = ProcessSeries(registry)
    blocks, size = given.num_gpu_blocks_override, given.block_size
    cache = {
        "block_size": str(size),
        "cache_dtype": "auto",
        "enable_prefix_caching": "False",
        "gpu_memory_utilization": str(given.gpu_memory_utilization),
        "kv_cache_max_concurrency": str(blocks * size / given.max_model_len),
        "kv_cache_size_tokens": str(blocks * size),
        "num_gpu_blocks": str(blocks),
        "num_gpu_blocks_override": str(blocks),
    }
    series = EngineSeries(registry, given.served[0], max_model_len=given.max_model_len, cache=cache)
    client = EngineClient(
        series,
        notice=settings.notice,
        max_requests=given.max_num_queued_reqs,
        max_queued_tokens=given.max_num_queued_tokens,
    )
    life = lifecycle.Lifecycle(
        settings,
        engine,
        client,
        shutdown_timeout=given.shutdown_timeout,
        statistics=not given.disable_log_stats,
    )
    routes = Routes(
        client,
        registry,
        own,
        served=given.served,
        root=given.model,
        max_model_len=given.max_model_len,
        settings=settings,
    )
    server = HTTPServer(
        routes.table(),
        HTTPSeries(registry),
        access_log=not given.disable_uvicorn_access_log,
        request_ids=given.enable_request_id_headers,
        on_error=life.look,
    )
    return await life.run(server, sock)
