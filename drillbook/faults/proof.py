"""Looking from outside until a fault is seen to have taken effect, or time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.faults.fault import Bite

LOOK_SECONDS = 0.1


async def until(look: Callable[[], Awaitable[Bite]], seconds: float) -> Bite:
    """The first look that shows a bite, else the last one that could be taken within ``seconds``.

    An API server that is away, or does not let us look, has shown nothing; its words are then the detail.
    """
    deadline = clock.monotonic() + seconds
    while True:
        try:
            bite = await look()
        except DrillbookError as error:
            bite = Bite(False, f"it cannot be seen: {error}")
        if bite.bit or clock.monotonic() > deadline:
            return bite
        await asyncio.sleep(LOOK_SECONDS)
