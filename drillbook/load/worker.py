"""The generator's process: ``python -m drillbook.load.worker``, started and steered by ``drillbook.load.process``.

Standard input brings a ``GeneratorConfig`` as its first line and commands after it; its end means that the parent is
gone, and then the load ends at once. Standard output carries the same lines as the run folder's file. Ctrl-C in a
terminal reaches the whole process group: what it means for the load is for the runner to say, so it is ignored here.

Exit codes: 0 ended as told, 2 the config or what it names is wrong; any other is a bug, with its traceback.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import msgspec

from drillbook import clock
from drillbook.errors import DrillbookError, Exit, UsageError
from drillbook.load import prompts
from drillbook.load.client import Client
from drillbook.load.config import Command, Flood, GeneratorConfig, Pace, Stop
from drillbook.load.generator import OpenLoop
from drillbook.load.outbox import Outbox
from drillbook.model.events import Noted

LINE_LIMIT = 2 * prompts.LARGEST
"""Bytes of a line of orders: the first may carry a prompt file."""
_PR_SET_PDEATHSIG = 1
Config = TypeVar("Config", bound=GeneratorConfig)


async def work() -> None:
    """Read the config, run the load, end when told.

    Raises:
        UsageError: the config is wrong.
        OSError: the file cannot be made.

    """
    orders, config = await ordered(GeneratorConfig)
    rows = prompts.read(config.prompts)
    client = client_of(config)
    async with Outbox(config.writer, config.path) as outbox, client:
        load = OpenLoop(config, client, rows, outbox.put)
        heed_signals(load)
        gc.collect()
        gc.freeze()  # what is loaded by now stays: full collections need not walk it
        start = max(config.start or 0.0, clock.monotonic())
        outbox.put(Noted(actor=config.writer, text=opening(config, len(rows), start, real_time())))
        obeying = asyncio.create_task(obey(orders, load))
        await load.run(start)
        obeying.cancel()


def client_of(config: GeneratorConfig) -> Client:
    """The client that a generator sends through; secret headers come from the environment."""
    return Client(
        config.base_url,
        config.model,
        api=config.api,
        stream=config.stream,
        stall_timeout=config.stall_timeout,
        timeout=config.timeout,
        headers={name: os.environ[variable] for name, variable in config.headers_from.items()},
        session_header=config.session_header,
        ignore_eos=config.ignore_eos,
    )


class Load(Protocol):
    """What can be steered while it runs."""

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""

    def stop(self, drain: float) -> None:
        """No more arrivals; ``drain`` seconds for what is in flight."""


def heed_signals(load: Load) -> None:
    """End the load at SIGTERM, and when the parent has died."""
    loop, parent = asyncio.get_running_loop(), os.getppid()
    loop.add_signal_handler(signal.SIGTERM, load.stop, 0.0)
    loop.add_signal_handler(signal.SIGHUP, lambda: load.stop(0.0) if os.getppid() != parent else None)


async def obey(orders: asyncio.StreamReader, load: Load) -> None:
    """Carry out what the parent says; that it says no more means that it is gone."""
    async for line in orders:
        match msgspec.json.decode(line, type=Command):
            case Pace(at=at, rate=rate):
                load.pace(at, rate)
            case Flood() as order if isinstance(load, OpenLoop):
                load.flood(order, prompts.read(order.prompts))
            case Stop(drain=drain):
                load.stop(drain)
    load.stop(0.0)


async def ordered(kind: type[Config]) -> tuple[asyncio.StreamReader, Config]:
    """Standard input and the config, its first line."""
    orders = asyncio.StreamReader(limit=LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    try:
        return orders, msgspec.json.decode(await orders.readline(), type=kind)
    except msgspec.MsgspecError as error:
        raise UsageError(f"the generator's config is wrong: {error}") from error


def opening(config: GeneratorConfig, size: int, start: float, hastened: bool) -> str:
    """What a generator says first."""
    late = start - config.start if config.start is not None else 0.0
    told = f"load: {config.rate:g}/s {config.arrivals}, {config.prompts} ({size} prompts), seed {config.seed}"
    told += f", {config.sessions} sessions" if config.sessions else ""
    told += ", at real-time priority" if hastened else ""
    return told + (f"; begins {late:.3f}s later than planned" if late > 0 else "")


def real_time() -> bool:
    """Ask for the lowest real-time priority: an engine on the same machine takes every core it can get.

    Measured on 2 cores with 4 busy processes: timers fire 23 ms late at the 99th percentile without it, 0.3 ms with it.
    The kernel keeps 5 % of each core from real-time processes, so that even a runaway cannot freeze the machine.
    """
    if sys.platform != "linux":
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:  # needs root or CAP_SYS_NICE; without it the lag is larger, and told
        return False
    return True


async def _unforgiving(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Asyncio logs what a callback raises, and goes on. A generator that lost a record so, for want of memory or by a
    bug of ours, would measure on without it: it dies at once instead, and its run says so.
    """

    def end(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        loop.default_exception_handler(context)
        if "handle" in context and "exception" in context:
            os._exit(Exit.INTERNAL)

    asyncio.get_running_loop().set_exception_handler(end)
    await work()


def main(work: Callable[[], Coroutine[Any, Any, None]] = work) -> int:
    """Run the process, or another that is steered in the same way."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":  # beside the end of standard input, which a forked child of the parent may hold open
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGHUP)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        asyncio.run(_unforgiving(work))
    except (DrillbookError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return Exit.USAGE
    return Exit.HELD


if __name__ == "__main__":
    sys.exit(main())
