"""The port of a fault: ``plan``, ``inject``, ``verify``. A new fault is a new module here that defines ``FAULT``."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from drillbook.model.experiment import Step
from drillbook.model.plan import BlastRadius, Call, Permission, PlannedFault
from drillbook.model.undo import ObjectRef, UndoOperation
from drillbook.targets.answers import UnavailableError
from drillbook.targets.target import Target

Record = Callable[[tuple[UndoOperation, ...]], Awaitable[None]]
"""Writes the undo down, durably, and answers only while injection is allowed (``FencedError`` otherwise)."""
_NO_ANSWER = "; no answer to"


@dataclass(frozen=True)
class Injected:
    """What was done, as far as the proof needs to know it."""

    detail: str
    undo: tuple[UndoOperation, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)
    """What the fault saw just before it struck."""

    @property
    def unanswered(self) -> bool:
        """Whether a request of ``strike`` had no answer: it may have been carried out, or may yet be."""
        return _NO_ANSWER in self.detail


@dataclass(frozen=True)
class Bite:
    """The proof, seen from outside, that the fault took effect; or why there is none."""

    bit: bool
    detail: str


async def strike(calls: Iterable[Awaitable[object]]) -> str:
    """Carry out all calls and wait for all. Answers what is uncertain: a call without an answer may have landed, and
    the proof will tell.

    :raises DrillbookError: the first refusal, once all have ended.
    """
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException) and not isinstance(answer, UnavailableError):
            raise answer
    unanswered = [str(answer) for answer in answers if isinstance(answer, UnavailableError)]
    return f"{_NO_ANSWER} {len(unanswered)} of {len(answers)} requests: {unanswered[0]}" if unanswered else ""


def unrestored(
    step: Step,
    index: int,
    *,
    summary: str,
    targets: tuple[ObjectRef, ...],
    calls: tuple[Call, ...],
    mended_by: str,
    radius: BlastRadius,
    permissions: tuple[Permission, ...],
    container: str = "",
    options: dict[str, object],
) -> PlannedFault:
    """The plan of what cannot be undone: what it ends the target brings back by itself, or does not."""
    return PlannedFault(
        id=f"{index}-{step.fault}",
        fault=step.fault,
        at=step.at,
        hold=step.for_,
        summary=summary,
        targets=targets,
        calls=calls,
        undo=(),
        undo_summary=f"none: {mended_by}",
        radius=radius,
        permissions=permissions,
        container=container,
        options=options,
    )


class Fault(Protocol):
    """One way of breaking a target."""

    name: str
    """As experiments say it: ``pod-kill``."""
    summary: str
    """One line for ``drillbook list faults``."""

    @property
    def step(self) -> type[Step]:
        """Its step in an experiment, with ``fault: Literal[name]``."""

    async def plan(self, step: Any, index: int, target: Target, draw: Draw) -> PlannedFault:
        """Resolve the step against the live target; touch nothing.

        :raises PreflightError: nothing is selected, or the fault is unsupported there.
        """

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        """Complete the undo, ``await record(undo)``, then strike. Without anything to undo, record ``()``.

        :raises RefusedError: the target said no. When something was recorded before, that is undone by the caller.
        :raises PreflightError: it turned out to be unsupported; nothing was touched.
        """

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        """Look from outside for at most ``seconds`` until the fault is seen to have taken effect."""


class Draw:
    """Chooses pods by the run's seed: the same target and seed give the same pods. One for all steps of a plan."""

    def __init__(self, seed: int, run_id: str = "") -> None:
        self._seed = seed
        self.run_id = run_id
        """For what bears the run's name: helper pods."""
        self._taken: set[str] = set()

    def choose(self, pods: list[dict[str, Any]], count: int, salt: str) -> list[dict[str, Any]]:
        """``count`` of the pods, those first that no earlier step has chosen; in the order of their names."""
        order = sorted(pods, key=lambda pod: str(pod["metadata"]["name"]))
        random.Random(f"{self._seed}/{salt}").shuffle(order)  # noqa: S311  (a drill, not a secret: it must be repeatable)
        order.sort(key=lambda pod: pod["metadata"]["uid"] in self._taken)
        chosen = order[:count]
        self.take(chosen)
        return sorted(chosen, key=lambda pod: str(pod["metadata"]["name"]))

    def take(self, pods: list[dict[str, Any]]) -> None:
        """Later steps choose these last."""
        self._taken |= {pod["metadata"]["uid"] for pod in pods}
