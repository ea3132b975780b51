"""What a run brings to a playbook: real names, measured times, what the signals did. Plain data, which reports make."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """A measured time in seconds; None says that it could not be measured, and ``why``."""

    name: str
    meaning: str
    seconds: float | None
    resolution: float = 0.0
    why: str = ""


class SignalSeen(msgspec.Struct, frozen=True, kw_only=True):
    """``turned`` is seconds after the injection, None where it stayed green."""

    name: str
    kind: str
    """``health``, ``readiness``, ``alert`` or ``heartbeat``."""
    turned: float | None
    green_while_broken: float


class Task(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    title: str
    work: str
    because: str


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """One drilled incident."""

    run_id: str
    experiment: str
    tested: str
    """UTC, ISO 8601."""
    target: str
    simulated: bool
    verdict: str
    reason: str
    fault: str
    versions: Mapping[str, str]
    names: Mapping[str, str]
    """Values of placeholders (``playbook.PLACEHOLDERS``), those that are known."""
    victims: tuple[str, ...]
    """Names of the pods that the faults were done to."""
    harmed_after: float | None
    """Seconds from the injection to the first harm; None where no user was harmed."""
    broken: float
    green_while_broken: float
    requests: int
    bad: int
    hidden: int
    tokens_lost: int
    times: tuple[Interval, ...]
    legs: tuple[Interval, ...]
    signals: tuple[SignalSeen, ...]
    backlog: tuple[Task, ...]
