"""Locust's master: ``python -m drillbook.load.locust.master``. It sends nothing itself.

It waits for its workers, has each start its one user, and adds up their statistics. What the users do is ordered by the
runner from each worker directly, so that nothing hangs on the master while a target is being measured.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading

from drillbook import clock
from drillbook.load.locust.config import LISTENS, LocustConfig, check_installed
from drillbook.load.outbox import Outbox
from drillbook.load.worker import heed_signals, main, obey, ordered
from drillbook.model.events import Noted

LOOK = 0.05
"""Seconds between two looks at who has come, and at what the runner wants."""
LAST = 2.0
"""Seconds for the last reports of workers that have ended; one that died gives none."""


class Master:
    """Brings the workers together. Pace is for the workers alone."""

    def __init__(self, config: LocustConfig, outbox: Outbox) -> None:
        self._config = config
        self._outbox = outbox
        self._loop = asyncio.get_running_loop()
        self._stopped = threading.Event()

    def pace(self, at: float, rate: float) -> None:
        """Each worker is told by itself."""

    def stop(self, drain: float) -> None:
        """All workers have ended by now, whatever ``drain`` says."""
        self._stopped.set()

    async def run(self) -> None:
        """Until told to stop."""
        await asyncio.to_thread(self._live)

    def _live(self) -> None:
        import gevent
        from locust import User
        from locust.env import Environment
        from locust.event import Events

        from drillbook.load.locust import statistics

        # the workers have the user that sends; a master only needs to know its name
        named = type("Arrivals", (User,), {"tasks": [lambda _: None]})
        environment = Environment(user_classes=[named], host=self._config.base_url, events=Events())
        runner = environment.create_master_runner(self._config.host, 0)
        ended: set[str] = set()
        environment.events.worker_report.add_listener(
            lambda client_id, data: ended.add(client_id) if "last" in data else None
        )
        self._note(f"{LISTENS}{runner.server.port}")
        deadline = clock.monotonic() + self._config.connect
        while len(runner.clients.ready) < self._config.workers:
            if self._stopped.is_set():
                return
            if clock.monotonic() > deadline:
                came = sorted(client.id.rpartition("_")[0] for client in runner.clients.ready)  # host names
                told = f"only {len(came)} of {self._config.workers} workers came to {self._config.host}"
                raise TimeoutError(f"{told}: {', '.join(came)}" if came else told)
            gevent.sleep(LOOK)
        runner.start(self._config.workers, spawn_rate=self._config.workers)
        while not self._stopped.is_set():
            gevent.sleep(LOOK)
        deadline = clock.monotonic() + LAST
        while len(ended) < self._config.workers and clock.monotonic() < deadline:
            gevent.sleep(LOOK)
        self._note(statistics.told(runner.stats))
        runner.greenlet.kill()
        runner.server.close(linger=0)

    def _note(self, text: str) -> None:
        self._loop.call_soon_threadsafe(self._outbox.put, Noted(actor=self._config.writer, text=text))


async def work() -> None:
    """Read the config, bring the workers together, end when told.

    Raises:
        UsageError: the config is wrong, or there is no Locust.
        OSError: the file cannot be made, or not all workers came (TimeoutError).

    """
    check_installed()
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"
    importlib.import_module("locust")  # here: it sets a signal handler, which only the main thread may
    orders, config = await ordered(LocustConfig)
    clock.keep(config.boot, config.ahead)
    async with Outbox(config.writer, config.path if config.folder else None) as outbox:
        master = Master(config, outbox)
        heed_signals(master)
        obeying = asyncio.create_task(obey(orders, master))
        await master.run()
        obeying.cancel()


if __name__ == "__main__":
    sys.exit(main(work))
