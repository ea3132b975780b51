"""A process that sends through Locust: ``python -m drillbook.load.locust.worker``, by itself or under a master.

It is started and steered, and ends, as ``drillbook.load.worker`` does.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys

from drillbook import clock
from drillbook.load import prompts
from drillbook.load.locust.config import LocustConfig, check_installed
from drillbook.load.outbox import Outbox
from drillbook.load.worker import client_of, heed_signals, main, obey, opening, ordered, real_time


async def work() -> None:
    """Read the config, run the load, end when told.

    Raises:
        UsageError: the config is wrong, or there is no Locust.
        OSError: the file cannot be made.

    """
    check_installed()
    os.environ["LOCUST_SKIP_MONKEY_PATCH"] = "1"  # gevent has a thread of its own here; asyncio needs the others as is
    locust = importlib.import_module("locust")  # here: it sets a signal handler, which only the main thread may
    from drillbook.load.locust.loop import LocustLoop  # nobody imports gevent by importing this module

    orders, config = await ordered(LocustConfig)
    clock.keep(config.boot, config.ahead)
    rows = list(config.rows) or prompts.read(config.prompts)
    hastened = real_time()  # threads inherit it
    client = client_of(config)  # never entered: it only makes the orders that Locust's connections carry out
    async with Outbox(config.writer, config.path if config.folder else None) as outbox:

        def told(start: float) -> str:
            return f"{opening(config, len(rows), start, hastened)}, through Locust {locust.__version__}"

        load = LocustLoop(config, client, rows, outbox.put, told)
        heed_signals(load)
        obeying = asyncio.create_task(obey(orders, load))
        await load.run()
        obeying.cancel()


if __name__ == "__main__":
    sys.exit(main(work))
