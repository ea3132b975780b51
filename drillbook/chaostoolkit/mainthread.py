"""The main thread, kept free for blocking actions: it is the only one in which Python can interrupt a system call.

A signal handler that raises ends ``time.sleep`` or a read of a socket in the main thread, and in no other. So the run's
event loop lives in a thread of its own, and actions are called here, where they can be ended in an instant.
"""

from __future__ import annotations

import asyncio
import queue
import signal
import threading
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

END = signal.SIGURG
"""Sent by this process to itself; without a handler nobody would notice it."""
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class StoppedError(BaseException):
    """Raised inside a function that is to end; no ``except Exception`` stops it."""


class Job:
    """One call. ``answer`` is (True, result) or (False, what it raised) once ``done``."""

    def __init__(self, function: Callable[[], Any], done: Callable[[], None]) -> None:
        self._function, self._done = function, done
        self.answer: tuple[bool, Any] | None = None
        self.ending = False

    @property
    def running(self) -> bool:
        return self.answer is None

    def run(self) -> None:
        try:
            self.answer = (True, self._function())
        except BaseException as error:  # noqa: BLE001 - handed to the caller; a SystemExit must not end this thread
            self.answer = (False, error)
        finally:
            self._done()


class MainThread:
    """Serves one run. ``heard`` is told each signal, in the main thread."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._current: Job | None = None
        self._ident = threading.main_thread().ident or 0
        self.heard: Callable[[int], None] | None = None

    def serve(self, work: Callable[[], Coroutine[Any, Any, T]], leave: Callable[[T], None] = lambda _: None) -> T:
        """Run ``work`` on a loop in another thread, and its actions here, until it has ended.

        ``leave`` ends the program, from that other thread, where an action still holds this one then.

        Raises:
            KeyboardInterrupt: a signal came while nobody listened yet, and ended it.

        """
        outcome: list[T] = []
        failure: list[BaseException] = []

        def body() -> None:
            try:
                outcome.append(asyncio.run(self._cancellable(work())))
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread, below
                failure.append(error)
            finally:
                self._jobs.put(None)
            if outcome and self._current is not None:
                leave(outcome[0])

        before = {number: signal.getsignal(number) for number in (END, *HEARD)}
        for number, handler in before.items():
            if handler is not signal.SIG_IGN or number == END:
                signal.signal(number, self._end if number == END else self._hear)
        thread = threading.Thread(target=body, name="run", daemon=True)
        try:
            thread.start()
            while (job := self._jobs.get()) is not None:
                self._serve(job)
            thread.join()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        if failure:
            raise KeyboardInterrupt if isinstance(failure[0], asyncio.CancelledError) else failure[0]
        return outcome[0]

    def take(self, job: Job) -> bool:
        """Run it here, unless another one runs; whether it was taken."""
        if self._current is not None:
            return False
        self._current = job
        self._jobs.put(job)
        return True

    def end(self, job: Job) -> None:
        """Raise ``StoppedError`` inside it, if it still runs."""
        job.ending = True
        if job is self._current:
            signal.pthread_kill(self._ident, END)

    def _serve(self, job: Job) -> None:
        try:
            job.run()
        except StoppedError:
            # It ended by itself in the instant in which it was to be ended.
            job.answer = job.answer or (False, StoppedError())
        finally:
            self._current = None

    def _end(self, _: int, __: FrameType | None) -> None:
        if self._current is not None and self._current.ending and self._current.running:
            raise StoppedError

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.heard is not None:
            self.heard(number)

    async def _cancellable(self, work: Coroutine[Any, Any, T]) -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None
        if self.heard is None:
            cancel = task.cancel
            self.heard = lambda _: void(loop.call_soon_threadsafe(cancel))
        return await work


def void(_: object) -> None:
    """Drop a value."""
