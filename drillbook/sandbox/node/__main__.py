"""``python -m drillbook.sandbox.node --state-dir DIR --api URL``: the agent, with its runtime and its proxy.

The imports are paid for once: before it becomes the agent, this process forks the runtime and the proxy, unless those
of an earlier agent still live. Each role is held by a file lock, so none of them can run twice.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from drillbook.errors import DrillbookError
from drillbook.sandbox import config as sandbox_config
from drillbook.sandbox.config import SandboxConfig
from drillbook.sandbox.images import SIM_MODULE

_log = logging.getLogger("drillbook.sandbox.node")


def hold(folder: Path, role: str) -> int | None:
    """Take the role's lock; None where another process has it. The descriptor holds it."""
    fd = os.open(folder / f"{role}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    os.ftruncate(fd, 0)
    os.write(fd, str(os.getpid()).encode())
    return fd


def fork_role(folder: Path, role: str, work: Callable[[], None]) -> None:
    """Run ``work`` in a child of its own session, if nobody has the role."""
    fd = hold(folder, role)
    if fd is None:
        return
    pid = os.fork()
    if pid:
        os.close(fd)
        return
    code = 1
    try:
        os.setsid()
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        work()
        code = 0
    except Exception:  # noqa: BLE001 -- logged; this copy of the agent ends here, whatever happened
        _log.exception("%s failed", role)
    finally:
        os._exit(code)


def run_runtime(config: SandboxConfig) -> None:
    from drillbook.sandbox.node import runtime

    preload = [SIM_MODULE] if config.engine == "sim" else []
    runtime.main(config.path / "node", preload, bridged=config.bridged)


def run_proxy(config: SandboxConfig, url: str) -> None:
    from drillbook.sandbox.node.proxy import Proxy

    async def serve() -> None:
        await Proxy(config, url).run()

    _until_terminated(serve)


def run_agent(config: SandboxConfig, url: str) -> None:
    from drillbook.sandbox.node.agent import Agent

    _until_terminated(Agent(config, url).run)


def _until_terminated(work: Callable[[], object]) -> None:
    async def main() -> None:
        task = asyncio.ensure_future(work())  # type: ignore[call-overload]  # a coroutine
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            return

    asyncio.run(main())


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m drillbook.sandbox.node", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="the sandbox's folder, with its sandbox.json")
    parser.add_argument("--api", required=True, help="the API server's URL")
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(processName)s %(name)s %(levelname)s %(message)s")
    try:
        config = sandbox_config.load(given.state_dir)
    except DrillbookError as error:
        print(f"{error}\n{error.hint}", file=sys.stderr)  # noqa: T201 -- a program's last words
        return int(error.exit_code)
    folder = config.path / "node"
    folder.mkdir(parents=True, exist_ok=True)
    if config.engine == "sim":
        __import__(SIM_MODULE)  # before the forks, so that the runtime has it without paying again
    fork_role(folder, "runtime", lambda: run_runtime(config))
    fork_role(folder, "proxy", lambda: run_proxy(config, given.api))
    lock = hold(folder, "agent")
    if lock is None:
        print("another agent runs this sandbox", file=sys.stderr)  # noqa: T201
        return 4
    run_agent(config, given.api)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
