"""The runner's handle on a generator process: start it, read its lines, stop it, know when it died."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

import msgspec

from drillbook.errors import DrillbookError, Exit, UnsupportedError, UsageError
from drillbook.load import child, prompts
from drillbook.load.child import Launch
from drillbook.load.config import Flood, GeneratorConfig, Pace, Stop
from drillbook.model.events import Line, LoadTicked
from drillbook.model.request import RequestRecord, Stream

READY = 30.0
"""Seconds until a generator must have said its first line; it takes about half a second."""
GRACE = 10.0
"""Seconds beyond the drain until a generator that was told to stop is killed."""
_TAIL = 20


@dataclass(eq=False)
class GeneratorError(DrillbookError):
    """The generator did not start, or died. What it measured up to then is in its file; the run is inconclusive."""

    exit_code = Exit.INCONCLUSIVE


class Generator:
    """One generator process, begun and ended as ``async with Generator(config) as generator``.

    ``async for line in generator`` gives its lines as they come, until it has been stopped and its last line is read.

    Raises:
        UsageError: the prompts or the headers' variables are not there; nothing was started.
        GeneratorError: it did not start; and from the iteration, that it died.

    """

    what: ClassVar[str] = "the load generator"
    module: ClassVar[str] = "drillbook.load.worker"
    """What the process runs."""
    ends_by_itself: bool = False
    """Whether it may end before it is told to, because it has sent all there is."""

    def __init__(self, config: GeneratorConfig, launch: Launch = child.launch) -> None:
        self.config = config
        self._launch = launch
        self.failure: str | None = None
        """Why it died, where it did."""
        self.sent: tuple[float, int] = (0.0, 0)
        """When its last tick came (monotonic seconds), and how many requests it had sent by then."""
        self.flooded = 0
        """How many requests of a second load have come to their end, whatever became of them."""
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue()
        self._complaints: deque[str] = deque(maxlen=_TAIL)
        self._ready = asyncio.Event()
        self._told_to_stop = False

    @property
    def pid(self) -> int:
        """The process of this machine, once it was started."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        self.check()
        self._process = await self._launch(self.module, self.config)
        self._watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.timeout(READY):
                await self._ready.wait()
        except TimeoutError:
            self.failure = f"it said nothing for {READY:g}s"
        except asyncio.CancelledError:
            await self.stop(0)
            raise
        if self.failure:
            await self.stop(0)
            raise self.error()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(0)

    async def __aiter__(self) -> AsyncIterator[Line]:
        while (line := await self._lines.get()) is not None:
            yield line
        self._lines.put_nowait(None)  # whoever iterates again finds the end again
        if self.failure:
            raise self.error()

    async def stop(self, drain: float = 5.0) -> None:
        """No more arrivals; give what is in flight ``drain`` seconds; return when the process has ended.

        All lines are there to be iterated afterwards. Never raises for a generator that died: ``failure`` says so.
        """
        self._told_to_stop = True
        self._order(Stop(drain=drain))
        try:
            async with asyncio.timeout(drain + GRACE):
                await asyncio.shield(self._watching)
        except TimeoutError:
            self._process.kill()
            self.failure = self.failure or "it did not end when told to, and was killed"
            await self._watching
        except asyncio.CancelledError:
            self._process.kill()
            await self._watching
            raise

    def check(self) -> None:
        """Refuse what cannot be sent, before anything is started."""
        prompts.read(self.config.prompts)
        check_headers(self.config)

    @property
    def rate(self) -> float:
        """Requests a second that its configuration says."""
        return self.config.rate

    def pace(self, at: float, rate: float) -> None:
        """From ``at`` (monotonic seconds) on, ``rate`` arrivals a second."""
        self._order(Pace(at=at, rate=rate))

    def flood(self, *, at: float, until: float, rate: float, prompts: str, times: int, output_tokens: int) -> None:
        """Send a second load beside the first: see ``Flood``.

        Raises:
            UnsupportedError: this generator sends one load only.

        """
        if self.module != Generator.module:
            raise UnsupportedError(f"{self.what} sends one load only", hint="use `load: {engine: drillbook}`")
        self._order(Flood(at=at, until=until, rate=rate, prompts=prompts, times=times, output_tokens=output_tokens))

    def _order(self, order: Stop | Pace | Flood) -> None:
        self._process.tell(msgspec.json.encode(order) + b"\n")

    async def _watch(self) -> None:
        """Read both pipes to their ends, then say how the process ended."""
        try:
            await asyncio.gather(self._read(self._process.stdout), self._overhear(self._process.stderr))
            died = await self._process.ended()
            if died:
                self.failure = self.failure or died
            elif not (self._told_to_stop or self.ends_by_itself):
                self.failure = self.failure or "it ended without being told to"
        finally:
            self._ready.set()
            self._lines.put_nowait(None)

    async def _read(self, pipe: asyncio.StreamReader) -> None:
        decode = msgspec.json.Decoder(Line).decode
        rest = b""
        while chunk := await pipe.read(1 << 16):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                read = decode(line)
                if isinstance(read.event, LoadTicked):
                    self.sent = (read.mono, read.event.sent)
                elif isinstance(read.event, RequestRecord) and read.event.stream is Stream.FLOOD:
                    self.flooded += 1
                self._lines.put_nowait(read)
                self._ready.set()

    async def _overhear(self, pipe: asyncio.StreamReader) -> None:
        while chunk := await pipe.read(1 << 16):
            self._complaints.extend(chunk.decode("utf-8", "replace").splitlines())

    def error(self) -> GeneratorError:
        """What is raised of its failure."""
        return GeneratorError(
            f"{self.what} {self.config.writer!r} cannot go on: {self.failure}",
            "\n".join(self._complaints) or f"its records up to then are in {self.config.path}",
        )


def check_headers(config: GeneratorConfig) -> None:
    """Refuse headers whose variables are not set."""
    for name, variable in config.headers_from.items():
        if variable not in os.environ:
            raise UsageError(
                f"the header {name} is to come from the environment variable {variable}, which is not set",
                f"export {variable}=…",
            )
