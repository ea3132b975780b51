"""Ctrl-C, SIGTERM and SIGHUP all do the same: they cancel what is going on, once, so that it can clean up behind it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

from drillbook.cli import failures

T = TypeVar("T")

REASONS = {
    signal.SIGINT: "interrupted (Ctrl-C)",
    signal.SIGTERM: "told to end (SIGTERM)",
    signal.SIGHUP: "the terminal was closed",
}


def run(work: Coroutine[Any, Any, T]) -> T:
    """Like ``asyncio.run``. The first signal cancels ``work``, later ones do nothing: undo and cleaning up take their
    time. A signal that whoever started us ignores (``nohup``) stays ignored.

    Raises:
        KeyboardInterrupt: it was cancelled.

    """

    async def main() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        seen: set[str] = set()

        def cancel(reason: str) -> None:
            if reason == REASONS[signal.SIGHUP]:
                failures.hang_up()
            if not seen:
                task.cancel(reason)
            seen.add(reason)

        for number, reason in REASONS.items():
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, cancel, reason)
        return await work

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        failures.expect_signals()  # the loop has put the defaults back
