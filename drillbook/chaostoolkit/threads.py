"""Blocking functions of others, run so that they cannot block a run: each is called with a time-out, and can be ended.

Actions are called in the main thread where that is free, for only there can a system call be interrupted; all else in
daemon threads, in which an exception is raised that ends whatever is Python. What does not end is known, and told.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import threading
from collections.abc import Callable
from typing import Any

from drillbook.chaostoolkit.mainthread import Job, MainThread, StoppedError

LOOK = 0.02
GRACE = 2.0
"""Seconds that a function is given to end once it was told to."""
ACTION = "action "
"""How the names of those calls begin that change something."""


class Unfinished(Exception):  # noqa: N818 - it names a state and not an error: the function may yet do its work
    """The function did not end in time. ``running``: nor when it was told to."""

    def __init__(self, *, running: bool) -> None:
        super().__init__("not finished in time")
        self.running = running


class Threads:
    """The blocking calls of one run."""

    def __init__(self, main: MainThread | None = None) -> None:
        self._main = main
        self._calls: dict[Job, tuple[str, threading.Thread | None]] = {}

    async def call(self, name: str, function: Callable[[], Any], seconds: float) -> Any:
        """What the function returns; what it raises. A coroutine that it gives is run to its end where it was called.

        Raises:
            Unfinished: it took too long.

        """
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def finished() -> None:
            with contextlib.suppress(RuntimeError):  # the loop may be closed by then: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        job = Job(lambda: _through(function()), finished)
        thread = None
        if not (name.startswith(ACTION) and self._main is not None and self._main.take(job)):
            thread = threading.Thread(target=job.run, name=name, daemon=True)
            thread.start()
        self._calls[job] = (name, thread)
        try:
            async with asyncio.timeout(seconds):
                await done.wait()
        except TimeoutError:
            await self._end([job], GRACE)
            raise Unfinished(running=job.running) from None
        self._calls.pop(job, None)
        assert job.answer is not None
        good, result = job.answer
        if good:
            return result
        raise result

    async def end(self, seconds: float = GRACE) -> list[str]:
        """Tell all that still run to end; the names of those that did not within ``seconds``."""
        await self._end(list(self._calls), seconds)
        return [name for job, (name, _) in self._calls.items() if job.running]

    async def _end(self, jobs: list[Job], seconds: float) -> None:
        for job in jobs:
            thread = self._calls[job][1]
            if thread is None and self._main is not None:
                self._main.end(job)
            elif thread is not None and thread.ident is not None and job.running:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(StoppedError))
        for _ in range(int(seconds / LOOK)):  # a call that dies of an exception has no event to wait for
            if not any(job.running for job in jobs):
                break
            await asyncio.sleep(LOOK)
        for job in jobs:
            if not job.running:
                self._calls.pop(job, None)


def _through(result: Any) -> Any:
    return asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result


async def _awaited(result: Any) -> Any:
    return await result
