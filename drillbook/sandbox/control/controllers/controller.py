"""What every controller is: a queue of keys, each reconciled alone, again on failure, and later when asked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from drillbook import clock
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, controller_of, is_controlled_by, namespace_of
from drillbook.sandbox.control.registry import Registry, key_of
from drillbook.sandbox.control.statuses import ApiError
from drillbook.sandbox.control.store import Change

_log = logging.getLogger(__name__)
Key = tuple[str, str]
"""(namespace, name)"""

_REST = 8
"""A key whose reconciliation took t seconds rests for this many t: big sets are looked at in batches of changes."""
_CHEAP = 0.002
_BACKOFF = (0.005, 0.05, 0.5, 1, 2, 5, 10, 30)


class Controller:
    """Subclasses set ``resource``, listen to what concerns them in ``__init__``, and implement ``reconcile``."""

    resource = ""
    """The resource whose objects the keys name; its changes enqueue themselves."""
    component = ""
    """What events call the source."""

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self.registry = registry
        self.store = registry.store
        self.recorder = recorder
        self._ready: dict[Key, None] = {}
        self._wake = asyncio.Event()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._resting: dict[Key, float] = {}
        self._task: asyncio.Task[None] | None = None
        if self.resource:
            self.store.listen(self.resource, self._on_own_change)

    def reconcile(self, namespace: str, name: str) -> float | None:
        """Make one object true; seconds until it should be looked at again, or None. May raise ApiError."""
        raise NotImplementedError

    def prime(self) -> Iterable[Key]:
        """What to look at when the process starts."""
        return [key_of(obj) for obj in self.store.objects(self.resource)]

    def start(self) -> None:
        for key in self.prime():
            self.enqueue(key)
        self._task = asyncio.create_task(self._work(), name=f"controller {self.resource or type(self).__name__}")

    async def close(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def enqueue(self, key: Key) -> None:
        rest = self._resting.get(key, 0.0) - clock.monotonic()
        if rest > 0:
            self.enqueue_after(key, rest)
        else:
            self._ready[key] = None
            self._wake.set()

    def enqueue_after(self, key: Key, seconds: float) -> None:
        """The earliest wish wins."""
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0.0, seconds)
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= when:
                return
            timer.cancel()
        self._timers[key] = loop.call_at(when, self._fire, key)

    def enqueue_owner(self, obj: Json, kind: str) -> None:
        """The controlling owner of this kind, if there is one."""
        owner = controller_of(obj)
        if owner is not None and owner["kind"] == kind:
            self.enqueue((namespace_of(obj), owner["name"]))

    def owner_listener(self, kind: str) -> None:
        """Enqueue the owner (of ``kind``) of each pod that changes, before and after the change."""

        def on_change(change: Change) -> None:
            self.enqueue_owner(change.obj, kind)
            if change.previous is not None:
                self.enqueue_owner(change.previous.obj, kind)

        self.store.listen("pods", on_change)

    def own(self, owner: Json, resource: str) -> list[Json]:
        """The objects of a resource that ``owner`` controls."""
        return [obj for obj in self.store.owned_by(owner["metadata"]["uid"], resource) if is_controlled_by(obj, owner)]

    def _fire(self, key: Key) -> None:
        self._timers.pop(key, None)
        self._resting.pop(key, None)
        self.enqueue(key)

    def _on_own_change(self, change: Change) -> None:
        self.enqueue(key_of(change.obj))

    async def _work(self) -> None:
        while True:
            if not self._ready:
                self._wake.clear()
                await self._wake.wait()
            key = next(iter(self._ready))
            del self._ready[key]
            self._attempt(key)
            await asyncio.sleep(0)

    def _attempt(self, key: Key) -> None:
        began = clock.monotonic()
        try:
            again = self.reconcile(*key)
        except ApiError as refusal:
            self._retry(key, refusal)
            return
        except Exception as problem:  # noqa: BLE001  a bug in one reconciliation must not end the controller; it is logged
            _log.exception("%s %s", self.resource, "/".join(key))
            self._retry(key, problem)
            return
        self._failures.pop(key, None)
        took = clock.monotonic() - began
        if took > _CHEAP:
            self._resting[key] = began + took + _REST * took
        if again is not None:
            self.enqueue_after(key, again)

    def _retry(self, key: Key, problem: Exception) -> None:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        if count:
            _log.warning("%s %s again: %s", self.resource, "/".join(key), problem)
        self.enqueue_after(key, _BACKOFF[min(count, len(_BACKOFF) - 1)])
