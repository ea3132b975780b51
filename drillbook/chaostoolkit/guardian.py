"""The guardian: a process of its own that plays the rollbacks of a runner that was killed.

``python -m drillbook.chaostoolkit.guardian`` reads its orders as one line of JSON on stdin, secrets included, so that
none of them is ever on the disk. When that pipe ends without a goodbye, or the runner is no longer its parent, it plays
what has not been played, writes it into the run's journal, and leaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import msgspec

from drillbook.chaostoolkit import journal as journals
from drillbook.chaostoolkit import rollbacks
from drillbook.chaostoolkit.controls import Controls
from drillbook.chaostoolkit.journal import Journal
from drillbook.chaostoolkit.load import Json
from drillbook.chaostoolkit.performer import Performer
from drillbook.chaostoolkit.plain import plain
from drillbook.chaostoolkit.redaction import Redactor
from drillbook.chaostoolkit.substitution import Variables
from drillbook.chaostoolkit.threads import Threads
from drillbook.errors import DrillbookError, PreflightError

GOODBYE = b"goodbye\n"
START_SECONDS = 20.0
LOOK_SECONDS = 0.2
"""Between two looks whether the runner is still the parent."""


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a guardian is told."""

    folder: str
    experiment: Json
    configuration: Json
    secrets: Json
    runner: int


class Guardian:
    """The runner's end of it."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(cls, folder: Path, experiment: Json, variables: Variables) -> Guardian:
        """Start it, and wait until it watches.

        Raises:
            PreflightError: it does not come up; nothing may be touched.

        """
        orders = Orders(
            folder=str(folder),
            experiment=plain(experiment),
            configuration=plain(variables.configuration),
            secrets=plain(variables.secrets),
            runner=os.getpid(),
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "drillbook.chaostoolkit.guardian"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(msgspec.json.encode(orders) + b"\n")
            async with asyncio.timeout(START_SECONDS):
                ready = await process.stdout.readline()
        except (TimeoutError, OSError):
            ready = b""
        if ready != b"ready\n":
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise PreflightError("the guardian that would play the rollbacks after a kill does not start")
        return cls(process)

    async def goodbye(self) -> None:
        """The rollbacks are played: it may leave."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(GOODBYE)
            await self._process.stdin.drain()
            self._process.stdin.close()
        await self._process.wait()


async def _play(orders: Orders) -> None:
    folder = Path(orders.folder)
    data = journals.read(folder)
    ours = data["drillbook"]
    # Controls watched over the run, which is over; the rollbacks are the experiment's own activities.
    experiment = {**orders.experiment, "controls": []}
    journal = Journal(folder, data, Redactor(orders.secrets))
    strategy = (experiment.get("runtime") or {}).get("rollbacks", {}).get("strategy", "default")
    reason = rollbacks.why_not({**data, "experiment": experiment}, strategy)
    threads, variables = Threads(), Variables(orders.configuration, orders.secrets)
    if not reason:
        controls = Controls({**experiment, "controls": []}, threads, journal.note)
        await rollbacks.play(Performer(experiment, variables, journal, controls, threads).without_controls())
    ours |= {"status": "crashed", "rolled-back-by": "guardian", "rollbacks-skipped": reason, "ended": True}
    ours["reason"] = (
        "the runner was killed; its guardian played the rollbacks" if not reason else "the runner was killed"
    )
    journal.save()


async def _parent_gone(runner: int) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        if os.getppid() != runner:
            return


async def main() -> None:
    """Read the orders, say ``ready``, wait for the runner's end."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(name, lambda: None)  # it ends by itself, once nothing is left to be played
    stdin = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    orders = msgspec.json.decode(await stdin.readline(), type=Orders)
    with contextlib.suppress(OSError):
        sys.stdout.write("ready\n")
        sys.stdout.flush()
    words = asyncio.create_task(stdin.readline())
    gone = asyncio.create_task(_parent_gone(orders.runner))
    await asyncio.wait([words, gone], return_when=asyncio.FIRST_COMPLETED)
    gone.cancel()
    if words.done() and words.result() == GOODBYE:
        return
    with contextlib.suppress(DrillbookError):
        await _play(orders)


if __name__ == "__main__":
    asyncio.run(main())
