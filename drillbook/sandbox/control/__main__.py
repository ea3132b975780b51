"""``python -m drillbook.sandbox.control --state-dir DIR --port P``: the control plane as a process."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path

from aiohttp import web

from drillbook.sandbox.control import settings
from drillbook.sandbox.control.plane import ControlPlane


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m drillbook.sandbox.control", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, help="where store.sqlite lives; made if missing")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--listen",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="listen here too, beside 127.0.0.1 (the pods' gateway); may be repeated",
    )
    settings.add_flags(parser)
    return parser


async def serve(arguments: argparse.Namespace) -> None:
    """Until SIGTERM or SIGINT. Raises OSError where an address cannot be bound."""
    arguments.state_dir.mkdir(parents=True, exist_ok=True)
    plane = ControlPlane(arguments.state_dir / "store.sqlite", settings.from_arguments(arguments))
    runner = web.AppRunner(plane.app, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        for host in ["127.0.0.1", *arguments.listen]:
            await web.TCPSite(runner, host, arguments.port, reuse_address=True, backlog=1024).start()
        plane.start()
        await stop.wait()
    finally:
        await runner.cleanup()
        await plane.close()


def main() -> int:
    arguments = _parser().parse_args()
    # Objects are trees, and go when nobody refers to them any more. A full search for cycles among those of 10,000 pods
    # was measured to stop the server for a second, several times a minute.
    gc.set_threshold(100_000, 50, 100)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(serve(arguments))
    except OSError as problem:
        print(f"the control plane cannot start: {problem}", file=sys.stderr)  # noqa: T201  its only word to a terminal
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
