"""The clock of a pod's machine beside the runner's, read over a round trip (Cristian's algorithm, 1989).

Times are compared with one another only within one boot of one machine (``drillbook.clock``). A pod on another one is
told how far ahead the runner's clock is, and keeps it. What is not known of the way there is half its round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.model.undo import ObjectRef
from drillbook.targets import helper
from drillbook.targets.answers import UnavailableError
from drillbook.targets.kube import REQUEST_SECONDS, Kube

ROUNDS = 8
"""Of which the quickest counts."""


@dataclass(frozen=True)
class Comparison:
    """``ahead``: seconds by which the runner's clock is ahead, give or take ``doubt``."""

    boot: str
    ahead: float
    doubt: float

    @property
    def same(self) -> bool:
        """Whether it is the very clock."""
        return self.boot == clock.boot_id() and abs(self.ahead) <= self.doubt

    @property
    def kept(self) -> str:
        """Whose clock a process there has to keep; empty where it is its own."""
        return "" if self.same else clock.boot_id()


async def compare(kube: Kube, pod: ObjectRef, python: str) -> Comparison:
    """Ask the pod for its clock, a few times.

    :raises DrillbookError: it does not answer.
    """
    process = await kube.process(pod, helper.CONTAINER, (python, "-m", "drillbook.helper.timekeeper"))
    found: list[Comparison] = []
    try:
        async with asyncio.timeout(REQUEST_SECONDS):
            for _ in range(ROUNDS):
                asked = clock.monotonic()
                process.write(b"\n")
                boot, _, moment = (await process.stdout.readline()).decode().partition(" ")
                now = clock.monotonic()
                found.append(Comparison(boot, (asked + now) / 2 - float(moment), (now - asked) / 2))
    except TimeoutError as error:
        raise UnavailableError(f"{pod.name} does not tell its clock: no answer in time") from error
    except ValueError as error:  # it ended, or these are somebody else's words
        process.kill()
        complaint = (await process.stderr.read()).decode("utf-8", "replace").strip() or str(error)
        raise UnavailableError(f"{pod.name} does not tell its clock: {complaint.splitlines()[-1]}") from error
    finally:
        process.kill()
        with contextlib.suppress(DrillbookError):
            await process.wait()
    return min(found, key=lambda each: each.doubt)
