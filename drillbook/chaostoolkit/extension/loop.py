"""The event loop behind the activities, which Chaos Toolkit calls as plain functions: one thread of this process."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
from collections.abc import Coroutine
from functools import cache
from typing import Any, TypeVar

from drillbook.errors import DrillbookError

T = TypeVar("T")

CLOSE_SECONDS = 3.0


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="drillbook", daemon=True).start()
    atexit.register(_close)
    return loop


def _close() -> None:
    """Nothing depends on this: what is left open ends with the process, and what is left broken has its watchdog."""
    from drillbook.chaostoolkit.extension.session import close_all

    with contextlib.suppress(Exception):
        asyncio.run_coroutine_threadsafe(close_all(), _loop()).result(CLOSE_SECONDS)


def call(work: Coroutine[Any, Any, T]) -> T:
    """Wait for ``work`` on that loop. Whatever ends the waiting (a signal, Chaos Toolkit's own exit) cancels it.

    Raises:
        ActivityFailed: of chaoslib where that is installed, with what went wrong and what to do next; else our own
            error. The activity has failed, and nothing of its fault is kept from being undone.

    """
    future = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return future.result()
    except DrillbookError as error:
        raise _failed(error) from error
    except BaseException:  # Ctrl-C, or SystemExit of Chaos Toolkit's own exit
        future.cancel()
        raise


def _failed(error: DrillbookError) -> Exception:
    try:
        from chaoslib.exceptions import ActivityFailed
    except ImportError:
        return error
    found: Exception = ActivityFailed(f"{error.message}{f' ({error.hint})' if error.hint else ''}")
    return found
