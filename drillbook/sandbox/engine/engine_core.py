"""``VLLM::EngineCore``: takes requests, schedules steps, has its workers run them, sends the tokens back.

One thread: while a worker does not answer, nothing else happens here either. That is what makes a hung engine silent.
"""

from __future__ import annotations

import contextlib
import select
import signal
from dataclasses import dataclass

from drillbook import clock
from drillbook.sandbox.engine import log, wire
from drillbook.sandbox.engine.executor import Executor, ExecutorError, StepFailedError
from drillbook.sandbox.engine.group import Group
from drillbook.sandbox.engine.kv_cache import KVCache
from drillbook.sandbox.engine.scheduler import Batch, Limits, Scheduler
from drillbook.sandbox.engine.settings import Settings
from drillbook.sandbox.engine.worker import pair


@dataclass(frozen=True)
class Capacity:
    """How much an engine takes: vLLM's flags."""

    blocks: int
    block_size: int
    limits: Limits


class EngineCore:
    """The engine's process, from its fork to its end."""

    def __init__(self, settings: Settings, capacity: Capacity, group: Group, client: wire.Channel) -> None:
        self._settings = settings
        self._client = client
        cache = KVCache(capacity.blocks, capacity.block_size)
        self._scheduler = Scheduler(cache, capacity.limits)
        self._executor = Executor(settings, group)
        self._draining = False
        self._terminated = False
        self._woken, self._waker = pair()
        self._waker.setblocking(False)

    def run(self) -> int:
        """Serve until the API server has gone, all work is done after a signal, or a worker fails; the exit code."""
        log.info("core.py", "Initializing a V1 LLM engine (v0.32.0)")
        signal.signal(signal.SIGTERM, self._terminate)
        signal.set_wakeup_fd(self._waker.fileno())
        try:
            self._executor.start([self._client.socket, self._waker, self._woken])
            self._client.send(wire.Ready())
            while self._receive():
                self._step()
            self._executor.stop()
            select.select([self._client], [], [], self._settings.linger)
        except StepFailedError as failure:
            self._die(failure)
            self._executor.stop()
            return 1
        except ExecutorError as failure:
            self._executor.stop()
            self._die(failure)
            return 1
        except OSError:  # the API server has gone, in the middle of a message
            self._executor.stop()
        return 0

    def _die(self, failure: ExecutorError) -> None:
        log.error("core.py", f"EngineCore encountered a fatal error. {failure}")
        with contextlib.suppress(OSError):
            self._client.send(wire.Dead())

    def _terminate(self, number: int, frame: object) -> None:
        self._terminated = True  # acted upon between two steps; the wakeup socket ends an idle wait

    def _receive(self) -> bool:
        """Take what has come, waiting for it while there is nothing to run; False when the engine should end."""
        while True:
            if self._terminated:
                self._abort_all()
            if (self._draining or self._terminated) and not self._scheduler.busy:
                log.info("core.py", "[shutdown] EngineCore: request processing complete; starting resource teardown")
                return False
            patience = 0.0 if self._scheduler.busy else None
            channels = [self._client, *self._executor.channels()]
            numbers = [self._woken.fileno(), *(channel.fileno() for channel in channels)]
            ready, _, _ = select.select(numbers, [], [], patience)
            readable = [channel for channel in channels if channel.fileno() in ready]
            self._executor.check(readable)
            if self._woken.fileno() in ready:
                self._woken.recv(64)
            if self._client in readable:
                messages = self._client.receive()
                if not messages:
                    return False
                for message in messages:
                    self._handle(message)
            if self._scheduler.busy and not self._terminated:
                return True

    def _abort_all(self) -> None:
        log.info("core.py", "[shutdown] EngineCore: aborting in-flight requests")
        ids = self._scheduler.ids()
        self._scheduler.abort(ids)
        outputs = [wire.Output(one, "abort", 0.0, 0) for one in ids]
        self._client.send(wire.Step(outputs, self._scheduler.stats(Batch())))

    def _handle(self, message: wire.Message) -> None:
        match message:
            case wire.Submit():
                self._scheduler.add(message)
            case wire.Abort():
                self._scheduler.abort(message.ids)
                self._client.send(wire.Step([], self._scheduler.stats(Batch())))
            case wire.Drain():
                log.info("core.py", "[shutdown] EngineCore: draining in-flight requests")
                self._draining = True
            case _:
                raise AssertionError(f"not for EngineCore: {message}")

    def _step(self) -> None:
        batch = self._scheduler.schedule(clock.monotonic())
        cost = self._settings
        seconds = cost.step + cost.sequence * len(batch.parts) + cost.prefill * batch.prompt_tokens
        self._executor.execute(batch.tokens, seconds)
        outputs = self._scheduler.advance(batch)
        self._client.send(wire.Step(outputs, self._scheduler.stats(batch)))
