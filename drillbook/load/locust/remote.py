"""A generator's process in a pod, as the runner holds it. Its lines are written here: a pod's disk goes with it."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import BinaryIO

import msgspec

from drillbook.errors import DrillbookError
from drillbook.load import child, stamp
from drillbook.load.locust import clocks
from drillbook.load.locust.clocks import Comparison
from drillbook.load.locust.config import DRIFTED, LocustConfig
from drillbook.model.events import Line, Noted
from drillbook.model.undo import ObjectRef
from drillbook.targets import helper, paths
from drillbook.targets.kube import Kube
from drillbook.targets.podprocess import PodProcess

DRIFT = 0.05
"""Seconds by which two clocks may have drifted apart until a run's end: as late as a request may be sent."""


class Remote:
    """See ``child.Process``."""

    pid = 0

    def __init__(
        self, kube: Kube, pod: ObjectRef, process: PodProcess, config: LocustConfig, compared: Comparison, python: str
    ) -> None:
        self.stdout, self.stderr = asyncio.StreamReader(), process.stderr
        self._kube, self._pod, self._process = kube, pod, process
        self._compared, self._python = compared, python
        self._trouble = ""
        self._copying = asyncio.create_task(self._copy(config.path))

    def tell(self, line: bytes) -> None:
        """Give it an order."""
        self._process.write(line)

    def kill(self) -> None:
        """Break the stream off: what runs in the pod ends with its stdin, and at the latest with the pod."""
        self._process.kill()

    async def ended(self) -> str:
        """Wait for its end; how it died, empty where it ended well."""
        try:
            died = child.manner(await self._process.wait())
        except DrillbookError as error:
            died = f"its stream broke off ({error.message})"
        await asyncio.wait([self._copying])
        if died:
            became = await self._became()
            return f"{died}; {became}" if became else died
        return self._trouble

    async def _became(self) -> str:
        """What became of its pod; empty where that is well, or cannot be told."""
        with contextlib.suppress(DrillbookError):
            pod = await self._kube.find(paths.of(self._pod))
            if pod is None or pod["metadata"]["uid"] != self._pod.uid:
                return f"the pod {self._pod.name} is gone"
            trouble = helper.trouble(pod)
            if trouble or pod["metadata"].get("deletionTimestamp"):
                return f"the pod {self._pod.name}: {trouble or 'it is being deleted'}"
        return ""

    async def _copy(self, path: Path) -> None:
        """To the run folder and to who reads ``stdout``, as it comes."""
        rest, last = b"", b""
        try:
            with await asyncio.to_thread(path.open, "xb") as file:
                while chunk := await self._process.stdout.read(1 << 16):
                    await self._hand_on(file, chunk)
                    *lines, rest = (rest + chunk).split(b"\n")
                    last = lines[-1] if lines else last
                if last and not rest and self._compared.kept:
                    note = Noted(actor="load", text=await self._drifted())
                    await self._hand_on(file, _after(last, note))
        except OSError as error:
            self._trouble = f"{path.name} cannot be written: {error.strerror}"
            self._process.kill()
        finally:
            self.stdout.feed_eof()

    async def _hand_on(self, file: BinaryIO, data: bytes) -> None:
        await asyncio.to_thread(_write, file, data)
        self.stdout.feed_data(data)

    async def _drifted(self) -> str:
        """What became of its clock since the beginning."""
        try:
            again = await clocks.compare(self._kube, self._pod, self._python)
        except DrillbookError as error:
            return f"{DRIFTED}, or may have: {error}"
        drift = again.ahead - self._compared.ahead
        if abs(drift) > DRIFT:
            return f"{DRIFTED}: that of {self._pod.name} by {drift * 1e3:+.1f} ms"
        doubt = max(again.doubt, self._compared.doubt)
        told = f"{self._pod.name} kept the runner's clock, known within {doubt * 1e3:.1f} ms"
        return f"{told}; it was {drift * 1e3:+.1f} ms off at the end"


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)
    file.flush()


def _after(last: bytes, event: Noted) -> bytes:
    """One more line of the same writer."""
    line = msgspec.json.decode(last, type=Line)
    return msgspec.json.encode(stamp.line(line.writer, line.seq + 1, event)) + b"\n"
