"""The watchdog: a process of its own that undoes what the runner no longer can.

``python -m drillbook.undo.watchdog`` reads its orders as one line of JSON on stdin. It undoes as soon as that pipe ends
(the runner died, however), or when the runner's Lease has not been renewed for the heartbeat's time on the watchdog's
own clock (the runner hangs). It leaves when the record is clean and the runner is gone, or has said goodbye, or when
nothing can come of it any more (``patience``); no signal but SIGKILL makes it. A runner that wakes up late finds the
record closed; should one of its requests land all the same, it is found and undone too, for everything is looked at
again once the runner's last request must have ended.

With ``--pod ORDERS`` it runs at the target (``watchdog_pod``), and has the Lease and the record alone to go by: it
undoes when the runner is silent, or when it is itself told to end (SIGTERM) while something is in place, for nothing
may stay broken without a watchdog. It leaves when the record is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import msgspec

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.model.undo import EntryState, UndoEntry
from drillbook.targets.answers import ApiError, UnavailableError
from drillbook.targets.kube import REQUEST_SECONDS, Kube
from drillbook.undo import lease
from drillbook.undo.logbook import Logbook
from drillbook.undo.patience import Patience
from drillbook.undo.record import NoRecordError, UndoStore
from drillbook.undo.undo import undo_all

LOOK_SECONDS = 0.5
"""Between two looks at the Lease."""
AGAIN_SECONDS = 0.1, 1.0
"""Between two looks at what was undone, while a late request of the runner's may still change it: at first, for what
was on its way lands soon, and at most.
"""
ATTEMPT_SECONDS = 30.0
"""How long one attempt at the whole undo lasts before it is written down as failed, and tried again."""
GOODBYE = b"goodbye\n"


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a watchdog is told. ``runner`` is the pid of the process that it watches over."""

    run_id: str
    namespace: str
    kubeconfig: str
    context: str
    folder: str
    heartbeat: float
    runner: int
    settle: float = REQUEST_SECONDS
    """Seconds after the runner's end in which a request of its own, accepted before, may still take effect."""


class Watchdog:
    """Watches one run. ``watch`` returns when there is nothing left to watch over."""

    def __init__(self, orders: Orders, kube: Kube) -> None:
        self._orders, self._kube = orders, kube
        folder = Path(orders.folder) if orders.folder else None
        self._log = Logbook(folder, "watchdog")
        self._folder = folder if folder and folder.is_dir() else None
        self._runner_gone = asyncio.Event()
        self._words = b""
        self._patience = Patience(kube, orders.kubeconfig, orders.context)
        self._held: lease.TargetLease | None = None
        self._told: dict[str, EntryState] = {}
        self._noted = ""

    async def watch(self, stdin: asyncio.StreamReader) -> None:
        """Wait for the runner's end or silence, and then put everything back."""
        listening = asyncio.create_task(self._listen(stdin), name="pipe")
        parent = asyncio.create_task(self._await_parent(), name="parent")
        silence = asyncio.create_task(self._await_silence(), name="heartbeat")
        try:
            gone = asyncio.create_task(self._runner_gone.wait(), name="gone")
            await asyncio.wait([gone, silence], return_when=asyncio.FIRST_COMPLETED)
            if not self._runner_gone.is_set():
                self._log.note(f"the runner has not renewed its Lease for {self._orders.heartbeat:g} s: undoing")
                await self._put_back()
                await gone
            if self._words == GOODBYE:
                return
            self._log.note("the runner is gone: undoing")
            if await self._put_back():
                await self._leave()
        finally:
            for task in (listening, parent, silence):
                task.cancel()
            await asyncio.gather(listening, parent, silence, return_exceptions=True)

    async def watch_from_afar(self, told: asyncio.Event) -> None:
        """Without a pipe to the runner: until it is silent, its record is gone, or this pod is told to end."""
        if await self._await_end(told):
            self._log.note("the runner is silent, or this pod must end: undoing")
            if await self._put_back():
                await self._leave()

    async def _await_end(self, told: asyncio.Event) -> bool:
        """Whether there may be something to undo; False once the record is gone: someone has seen to it."""
        orders, seen, since = self._orders, "", clock.monotonic()
        while not told.is_set() and clock.monotonic() - since <= orders.heartbeat:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), LOOK_SECONDS)
            try:
                store = await UndoStore.open(self._kube, orders.namespace, orders.run_id)
                holders = (orders.run_id, orders.run_id + lease.WATCHDOG)
                versions = [await lease.read_version(self._kube, orders.namespace, each) for each in holders]
            except NoRecordError:
                return False
            except DrillbookError:
                since = clock.monotonic()
                continue
            if told.is_set() and store.record.closed and not store.record.remaining:
                return False
            if (version := "".join(versions)) and version != seen:
                seen, since = version, clock.monotonic()
        return True

    async def _listen(self, stdin: asyncio.StreamReader) -> None:
        self._words = await stdin.readline()
        self._runner_gone.set()

    async def _await_parent(self) -> None:
        """The pipe stays open while any heir of the runner holds it; a runner that died is no longer our parent."""
        while not self._runner_gone.is_set():
            await asyncio.sleep(LOOK_SECONDS)
            if os.getppid() != self._orders.runner:
                self._runner_gone.set()

    async def _await_silence(self) -> None:
        """Return when the Lease was seen unchanged for so long. An API server that is away proves nothing."""
        seen, since = "", clock.monotonic()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                version = await lease.read_version(self._kube, self._orders.namespace, self._orders.run_id)
            except (ApiError, UnavailableError):
                since = clock.monotonic()
                continue
            if not version or version != seen:
                seen, since = version, clock.monotonic()
            elif clock.monotonic() - since > self._orders.heartbeat:
                return

    async def _put_back(self) -> bool:
        """Undo, and look again until no request of the runner's can land any more; no other run may begin meanwhile.

        False: given up.
        """
        settled = clock.monotonic() + self._orders.settle
        clean = await self._undo_until_clean()
        pause, most = AGAIN_SECONDS
        while clean and clock.monotonic() < settled:
            await asyncio.sleep(min(pause, max(0.0, settled - clock.monotonic())))
            pause = min(2 * pause, most)
            clean = await self._undo_until_clean()
        if self._held is not None:
            await self._held.release()
            self._held = None
        return clean

    async def _undo_until_clean(self) -> bool:
        """False: it is given up, and what remains stays in the record."""
        pause = 0.2
        self._patience.renewed()
        while True:
            failure: DrillbookError | None = None
            try:
                orders = self._orders
                store = await UndoStore.open(self._kube, orders.namespace, orders.run_id, self._folder)
                holding = asyncio.create_task(
                    self._hold_lease(), name="lease"
                )  # meanwhile the dead runner's still holds
                try:
                    await undo_all(store, "watchdog", seconds=ATTEMPT_SECONDS, tell=self._tell)
                finally:
                    await holding
                if not store.record.remaining:
                    self._note_once(f"nothing of run {orders.run_id} is left")
                    return True
            except DrillbookError as error:
                failure = error
                self._note_once(f"cannot undo yet: {error}")
            vain = await self._patience.ended(failure)
            if vain:
                self._note_once(f"given up: {vain}; `drillbook recover` undoes what remains")
                return False
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)

    async def _hold_lease(self) -> None:
        with contextlib.suppress(ApiError, UnavailableError):
            orders = self._orders
            self._held = self._held or await lease.take_over(self._kube, orders.namespace, orders.run_id)

    def _tell(self, entry: UndoEntry) -> None:
        """What is looked at again and found as it was is no news."""
        if self._told.get(entry.id) is not entry.state:
            self._told[entry.id] = entry.state
            self._log.tell(entry)

    def _note_once(self, text: str) -> None:
        if text != self._noted:
            self._noted = text
            self._log.note(text)

    async def _leave(self) -> None:
        with contextlib.suppress(DrillbookError):
            store = await UndoStore.open(self._kube, self._orders.namespace, self._orders.run_id, self._folder)
            await store.remove()


async def main(argv: list[str]) -> None:
    """Read the orders, say ``ready``, watch."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, told.set)  # it ends by itself, when nothing is left to undo
    if argv[:1] == ["--pod"]:
        await _watch_as_a_pod(msgspec.json.decode(argv[1], type=Orders), told)
        return
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    orders = msgspec.json.decode(await stdin.readline(), type=Orders)
    async with await Kube.from_kubeconfig(orders.kubeconfig or None, orders.context or None) as kube:
        watchdog = Watchdog(orders, kube)
        with contextlib.suppress(OSError):
            sys.stdout.write("ready\n")
            sys.stdout.flush()
        await watchdog.watch(stdin)


async def _watch_as_a_pod(orders: Orders, told: asyncio.Event) -> None:
    """Say ``{"watching": …}`` once its own account was seen to read what it watches, or ``{"error": …}``."""
    async with await Kube.from_kubeconfig() as kube:
        try:
            await UndoStore.open(kube, orders.namespace, orders.run_id)
            await lease.read_version(kube, orders.namespace, orders.run_id)
            said = {"watching": orders.run_id}
        except NoRecordError:
            return  # it was started again after all was done
        except DrillbookError as error:
            said = {"error": error.message, "hint": error.hint}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        await Watchdog(orders, kube).watch_from_afar(told)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
