"""Our end of the bridge to garak: its prompts as they come, our answers, its scores."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from drillbook import clock

BRIDGE = Path(__file__).with_name("bridge.py")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # a detector that needs a hub fails at once, and not after a minute
    "PYTHONHASHSEED": "0",  # some probes choose among the members of a set: the same seed is to be the same prompts
    "PYTHONWARNINGS": "ignore",
}
SCORING = 60.0
"""Seconds that garak's detectors may take over one answer."""
_LIMIT = 64 << 20
_TAIL = 20


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """One prompt that garak wants answered."""

    id: int
    probe: str
    seq: int | None
    messages: list[dict[str, str]]
    params: dict[str, Any]
    """Sampling that the probe wants for this prompt alone."""

    @property
    def turn(self) -> int:
        return sum(row["role"] == "assistant" for row in self.messages)


@dataclass(frozen=True, slots=True)
class Scored:
    """garak's word on one answer: scores by detector, and its own record of the attempt."""

    scores: dict[str, list[float | None]] = field(default_factory=dict)
    attempt: dict[str, Any] | None = None


class Session:
    """Use it as ``async with Session(python, specs, …) as session``.

    ``ready`` holds what can be sent now; ``changed`` is called whenever something came or everything ended.
    """

    def __init__(
        self,
        python: str,
        specs: tuple[str, ...],
        *,
        buffs: tuple[str, ...] = (),
        config: Mapping[str, Any] | None = None,
        cap: int | None = None,
        seed: int = 1,
        model: str = "",
        changed: Callable[[], None] = lambda: None,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.ready: list[Ask] = []
        self.ended = False
        self.failure = ""
        self.tags: dict[str, list[str]] = {}
        self.detectors: dict[str, list[str]] = {}
        self._python = python or os.environ.get("DRILLBOOK_GARAK_PYTHON") or sys.executable
        self._start: dict[str, Any] = {
            "specs": specs,
            "buffs": buffs,
            "cap": cap,
            "seed": seed,
            "model": model,
            "now": clock.wall(),
        }
        self._start["config"] = config or {}
        self._changed, self._note = changed, note
        self._scores: dict[int, asyncio.Future[Scored]] = {}
        self._complaints: deque[str] = deque(maxlen=_TAIL)

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *(self._python, "-P", str(BRIDGE)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_LIMIT,
            env={**os.environ, **ENVIRONMENT},
        )
        self._say(self._start)
        self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.ended:
            self._end("")
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._watching

    async def answer(self, ask: Ask, output: str | None) -> Scored:
        """Give garak the answer (None where there was none) and wait for its scores; none where garak is gone."""
        if self.ended:
            return Scored()
        waiting = self._scores[ask.id] = asyncio.get_running_loop().create_future()
        self._say({"id": ask.id, "outputs": [output]})
        try:
            async with asyncio.timeout(SCORING):
                scored: Scored = await waiting
                return scored
        except TimeoutError:
            self._note(f"garak gave no scores for an answer to {ask.probe} within {SCORING:g}s")
            return Scored()
        finally:
            self._scores.pop(ask.id, None)

    def _say(self, words: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(ConnectionError):  # the watch tells that it is gone
            self._process.stdin.write(json.dumps(words).encode() + b"\n")

    async def _watch(self) -> None:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        await asyncio.gather(self._read(self._process.stdout), self._overhear(self._process.stderr))
        await self._process.wait()
        if not self.ended:
            self._end("it died: " + " | ".join(self._complaints))

    async def _read(self, pipe: asyncio.StreamReader) -> None:
        async for line in pipe:
            told = json.loads(line)
            match told.pop("op"):
                case "ask":
                    self.ready.append(Ask(**told))
                    self._changed()
                case "scores":
                    waiting = self._scores.get(told["id"])
                    if waiting is not None and not waiting.done():
                        waiting.set_result(Scored(told["scores"], told["attempt"]))
                case "probe":
                    self.tags[told["probe"]] = told["tags"]
                    self.detectors[told["probe"]] = told["detectors"]
                case "lost":
                    self._note(f"{told['probe']} is not scored by {told['detector']}: {told['why']}")
                case "done" if told["why"]:
                    self._note(f"garak's probe {told['probe']} broke off: {told['why']}")
                case "end":
                    self._end(told["why"])

    async def _overhear(self, pipe: asyncio.StreamReader) -> None:
        while chunk := await pipe.read(1 << 16):
            self._complaints.extend(chunk.decode("utf-8", "replace").splitlines())

    def _end(self, why: str) -> None:
        self.ended, self.failure = True, why
        if why:
            self._note(f"garak ended: {why}")
        for waiting in self._scores.values():
            if not waiting.done():
                waiting.set_result(Scored())
        self._changed()
