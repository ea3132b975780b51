"""What a run writes down, one event a line. The order and the names of fields are part of the file format.

Each file of a run folder has one writer; every line carries the writer, its sequence number, the boot it happened in,
and both clocks, so that lines of several files can be merged and a torn last line is recognised for what it is.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from drillbook.model.attack import AttackRecord
from drillbook.model.plan import Plan
from drillbook.model.request import RequestRecord
from drillbook.model.undo import UndoEntry
from drillbook.model.verdict import RunStatus, UndoState

JOURNAL_VERSION = 1


class Phase(enum.StrEnum):
    """The phases of a run, in order."""

    PREFLIGHT = "preflight"
    BASELINE = "baseline"
    INJECT = "inject"
    OBSERVE = "observe"
    UNDO = "undo"
    SETTLE = "settle"
    VERIFY = "verify-clean"


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all events; ``type`` tells which."""


class RunStarted(Event, frozen=True, kw_only=True, tag="run-started"):
    """The first line of every control log: enough to judge the run without the machine that ran it."""

    version: int = JOURNAL_VERSION
    run_id: str
    drillbook: str
    experiment: dict[str, Any]
    """The experiment as it was understood (defaults filled in)."""
    source: str
    """The file's own text."""
    path: str
    sha256: str
    target: str
    """``sandbox default (sim)`` or ``context/namespace``."""
    stack: str
    simulated: bool
    endpoint: str
    facts: dict[str, str] = {}
    """Versions and sizes found at the target: Kubernetes, vLLM, router, replicas, GPUs."""


class Planned(Event, frozen=True, kw_only=True, tag="planned"):
    plan: Plan


class PhaseStarted(Event, frozen=True, kw_only=True, tag="phase-started"):
    phase: Phase


class PreflightChecked(Event, frozen=True, kw_only=True, tag="preflight-checked"):
    name: str
    ok: bool
    detail: str


class FaultState(enum.StrEnum):
    """The life of one fault step. ``bit`` or ``no-bite`` is the proof seen from outside."""

    INJECTING = "injecting"
    INJECTED = "injected"
    REFUSED = "refused"
    BIT = "bit"
    NO_BITE = "no-bite"
    UNDOING = "undoing"
    UNDONE = "undone"
    SUPERSEDED = "superseded"
    UNDO_FAILED = "undo-failed"


class FaultChanged(Event, frozen=True, kw_only=True, tag="fault-changed"):
    id: str
    """The planned fault's id."""
    state: FaultState
    detail: str = ""


class UndoRecorded(Event, frozen=True, kw_only=True, tag="undo-recorded"):
    """Fsynced before the fault that it undoes is injected."""

    entry: UndoEntry


class ObjectChanged(Event, frozen=True, kw_only=True, tag="object-changed"):
    """A watched Kubernetes object appeared, changed or went. ``summary`` keeps only what reports and clocks read."""

    change: str
    """``present`` (in the first list), ``added``, ``modified`` or ``deleted``."""
    kind: str
    name: str
    uid: str
    role: str
    """The role of the pod, else empty."""
    resource_version: str
    summary: dict[str, Any]
    """Pods: phase, ready, node, ip, restarts, reason, gpus, deleting, scheduled, started, containers (name, ready,
    state, exit_code, reason), revision. Deployments and Rollouts: desired, ready, updated, available, template (a
    fingerprint), late, aborted, message; of Rollouts also active (the revision that users get, of blue/green).
    AnalysisRuns and Canaries: phase, message, weight. EndpointSlices: ready
    (list of pod names). Events: reason, message, object. Nodes: ready, reason, unschedulable, taints, gpus.
    Autoscalers: target, min, max, current, desired, limited, active, reason, message, metrics (name to target and
    current). Times inside are the API server's own strings."""


class Observed(Event, frozen=True, kw_only=True, tag="observed"):
    """One reading of one probe. ``value`` None says that the probe gave nothing, and ``error`` why."""

    probe: str
    value: float | None
    labels: dict[str, str] = {}
    error: str = ""
    took: float = 0.0
    """Seconds the reading itself took; the reading's time lies within them."""


class SeriesRead(Event, frozen=True, kw_only=True, tag="series-read"):
    """One query over the whole run, asked at its end: what came too late for the live readings is in it."""

    probe: str
    promql: str
    start: float
    """Monotonic seconds of the first value."""
    step: float
    """Seconds from one value to the next."""
    values: tuple[float | None, ...]
    """None where Prometheus had no value for that moment."""
    ages: tuple[float | None, ...] = ()
    """How old the newest sample was that each value rests on, in seconds, where that is known."""
    error: str = ""


class AlertState(enum.StrEnum):
    """What a rule says of one alert. ``unknown``: the rule itself could not be evaluated."""

    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"
    UNKNOWN = "unknown"


class AlertChanged(Event, frozen=True, kw_only=True, tag="alert-changed"):
    """An alert came to another state, or was seen for the first time."""

    name: str
    state: AlertState
    labels: dict[str, str] = {}
    """Those that tell this alert from others of its rule; empty for the rule itself."""
    source: str = "prometheus"
    """``prometheus``, or ``alertmanager``: what became of it there."""
    detail: str = ""
    """Why a rule is unknown, or what silenced or inhibited the alert in Alertmanager."""
    took: float = 0.0
    """Seconds since it was last looked at: it changed within them."""


class LoadTicked(Event, frozen=True, kw_only=True, tag="load-ticked"):
    """Once a second from each generator: is it keeping its schedule?"""

    sent: int
    finished: int
    in_flight: int
    lag_p99: float
    """Seconds between scheduled and sent, 99th percentile over the tick."""
    lag_max: float
    oldest: float
    """Seconds since the last progress of the request that has waited longest; 0 when none is in flight."""
    tokens: int
    """Content chunks received in this tick."""


class AbortTripped(Event, frozen=True, kw_only=True, tag="abort-tripped"):
    condition: str
    detail: str


class EvidenceKept(Event, frozen=True, kw_only=True, tag="evidence-kept"):
    """A victim's log or description, saved before it vanished; ``path`` is relative to the run folder."""

    what: str
    path: str


class Noted(Event, frozen=True, kw_only=True, tag="noted"):
    """A note of a person or of the runner, for the timeline."""

    actor: str
    text: str


class RunEnded(Event, frozen=True, kw_only=True, tag="run-ended"):
    """The last line of a control log. A log without it reads as ``crashed``."""

    status: RunStatus
    undo: UndoState
    reason: str = ""
    lines: dict[str, int] = {}
    """How many lines each other writer has given the runner: a file that holds fewer was cut off by a full disk."""


AnyEvent = (
    RunStarted
    | Planned
    | PhaseStarted
    | PreflightChecked
    | FaultChanged
    | UndoRecorded
    | ObjectChanged
    | Observed
    | SeriesRead
    | AlertChanged
    | LoadTicked
    | AbortTripped
    | EvidenceKept
    | Noted
    | RunEnded
    | RequestRecord
    | AttackRecord
)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a run's file."""

    writer: str
    seq: int
    boot: str
    mono: float
    wall: float
    event: AnyEvent
