"""Blocking functions of others, run so that they cannot block a run: each in a daemon thread, with a time-out.

A thread cannot be killed. When its time is up an exception is raised inside it, which ends whatever is Python and not
stuck in a system call; what does not end is known to be still at work, and told.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import threading
from collections.abc import Callable
from typing import Any

from drillbook import clock

LOOK = 0.02
GRACE = 3.0
"""Seconds that a function is given to end once it was told to."""


class StoppedError(BaseException):
    """Raised inside a thread that is to end; no ``except Exception`` stops it."""


class Unfinished(Exception):  # noqa: N818 - it names a state and not an error: the function may yet do its work
    """The function did not end in time. ``running``: nor when it was told to."""

    def __init__(self, *, running: bool) -> None:
        super().__init__("not finished in time")
        self.running = running


class Threads:
    """The threads of one run."""

    def __init__(self) -> None:
        self._alive: dict[threading.Thread, str] = {}

    async def call(self, name: str, function: Callable[[], Any], seconds: float) -> Any:
        """What the function returns; what it raises. A coroutine that it gives is run to its end in its thread.

        Raises:
            Unfinished: it took too long.

        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()
        answer: list[Any] = []

        def body() -> None:
            try:
                result = function()
                if inspect.isawaitable(result):
                    result = asyncio.run(_awaited(result))
                answer.append((True, result))
            except BaseException as error:  # noqa: BLE001 - handed to the caller; SystemExit must not end the thread unseen
                answer.append((False, error))
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        thread = threading.Thread(target=body, name=name, daemon=True)
        self._alive[thread] = name
        thread.start()
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            await self._end([thread], GRACE)
            raise Unfinished(running=thread.is_alive()) from None
        self._alive.pop(thread, None)
        good, result = answer[0]
        if good:
            return result
        raise result

    async def end(self, seconds: float = GRACE) -> list[str]:
        """Tell all that still run to end; the names of those that did not within ``seconds``."""
        await self._end(list(self._alive), seconds)
        return [name for thread, name in self._alive.items() if thread.is_alive()]

    async def _end(self, threads: list[threading.Thread], seconds: float) -> None:
        until = clock.monotonic() + seconds
        for thread in threads:
            if thread.is_alive() and thread.ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(StoppedError))
        for _ in range(int(seconds / LOOK)):  # a thread has no event to wait for when it dies of an exception
            if clock.monotonic() >= until or not any(thread.is_alive() for thread in threads):
                break
            await asyncio.sleep(LOOK)
        for thread in threads:
            if not thread.is_alive():
                self._alive.pop(thread, None)


async def _awaited(result: Any) -> Any:
    return await result
