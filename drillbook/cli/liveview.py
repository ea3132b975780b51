"""What the console shows of a run, accumulated line by line. No drawing here, and no judging."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from drillbook.load import slis
from drillbook.model.events import (
    AbortTripped,
    AnyEvent,
    FaultChanged,
    FaultState,
    Line,
    LoadTicked,
    Noted,
    ObjectChanged,
    Phase,
    PhaseStarted,
    Planned,
    PreflightChecked,
    RunEnded,
)
from drillbook.model.experiment import SloSpec
from drillbook.model.plan import PlannedFault
from drillbook.model.request import Outcome, RequestRecord, Stream

WINDOW = 5.0
"""Seconds of finished requests that the live figures look back over."""
LONG = 24
"""Characters from which a pod's name is shortened on the screen; the journal and the reports have it whole."""

FAULT_WORDS = {
    FaultState.INJECTING: "injecting",
    FaultState.INJECTED: "injected",
    FaultState.REFUSED: "refused by the target",
    FaultState.BIT: "it bit",
    FaultState.NO_BITE: "NO BITE",
    FaultState.UNDOING: "undoing",
    FaultState.UNDONE: "undone",
    FaultState.SUPERSEDED: "superseded by someone else's change",
    FaultState.UNDO_FAILED: "UNDO FAILED",
}


@dataclass(slots=True)
class PodLine:
    """One pod as the console shows it."""

    name: str
    role: str
    state: str = ""
    node: str = ""
    restarts: int = 0
    gone: bool = False
    changed: float = 0.0


@dataclass(slots=True)
class Happening:
    """One line of what happened. ``weight``: 0 in passing, 1 worth knowing, 2 cannot be overlooked."""

    mono: float
    text: str
    weight: int = 0


@dataclass
class LiveView:
    """The state of a run as far as a person at the console wants it."""

    slo: SloSpec
    phase: Phase | None = None
    phase_since: float = 0.0
    zero: float | None = None
    ended: RunEnded | None = None
    pods: dict[str, PodLine] = field(default_factory=dict)
    faults: dict[str, PlannedFault] = field(default_factory=dict)
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    goodput_by_second: dict[int, list[int]] = field(default_factory=dict)
    ticks: dict[str, LoadTicked] = field(default_factory=dict)
    """What each generator told last."""
    lag: float = 0.0
    states: dict[str, tuple[FaultState, float]] = field(default_factory=dict)
    """By fault: what became of it last, and when."""
    recent: deque[RequestRecord] = field(default_factory=deque)
    now: float = 0.0

    @property
    def in_flight(self) -> int:
        return sum(tick.in_flight for tick in self.ticks.values())

    @property
    def oldest(self) -> float:
        return max((tick.oldest for tick in self.ticks.values()), default=0.0)

    @property
    def tokens_per_second(self) -> int:
        return sum(tick.tokens for tick in self.ticks.values())

    def take(self, line: Line) -> list[Happening]:
        """Take note of one line; what a person should be told comes back."""
        self.now = max(self.now, line.mono)
        event: AnyEvent = line.event
        match event:
            case RequestRecord():
                self._request(event)
            case LoadTicked():
                self.ticks[line.writer] = event
                self.lag = max(self.lag, event.lag_p99)
            case ObjectChanged():
                return [Happening(line.mono, text, 1) for text in self._object(event, line.mono)]
            case PhaseStarted():
                self.phase, self.phase_since = event.phase, line.mono
                if event.phase is Phase.INJECT:
                    self.zero = line.mono
                return [Happening(line.mono, f"phase: {event.phase.value}")]
            case Planned():
                self.faults = {fault.id: fault for fault in event.plan.faults}
            case PreflightChecked():
                return [Happening(line.mono, f"preflight {event.name}: {event.detail}", 0 if event.ok else 2)]
            case FaultChanged():
                self.states[event.id] = event.state, line.mono
                return [Happening(line.mono, self._fault(event), 2)]
            case AbortTripped():
                return [Happening(line.mono, f"ABORT: {event.condition}: {event.detail}", 2)]
            case Noted():
                return [Happening(line.mono, event.text, 1)]
            case RunEnded():
                self.ended = event
            case _:
                pass
        return []

    def _request(self, record: RequestRecord) -> None:
        if record.stream is not Stream.LOAD:
            return
        self.outcomes[record.outcome] = self.outcomes.get(record.outcome, 0) + 1
        self.recent.append(record)
        while self.recent and self.recent[0].end < record.end - WINDOW:
            self.recent.popleft()
        good, total = self.goodput_by_second.setdefault(int(record.end), [0, 0])
        self.goodput_by_second[int(record.end)] = [good + slis.good(record, self.slo), total + 1]

    def _fault(self, event: FaultChanged) -> str:
        fault = self.faults.get(event.id)
        text = f"{fault.fault if fault else event.id}: {FAULT_WORDS[event.state]}"
        if event.state is FaultState.INJECTING and fault:
            return f"{text} ({fault.summary})"
        return f"{text} ({event.detail})" if event.detail else text

    def _object(self, event: ObjectChanged, mono: float) -> Iterable[str]:
        if event.kind != "Pod":
            return
        pod = self.pods.setdefault(event.uid, PodLine(event.name, event.role))
        before = pod.state
        pod.node, pod.restarts = event.summary.get("node") or "", event.summary.get("restarts") or 0
        pod.gone = event.change == "deleted"
        pod.state = "gone" if pod.gone else pod_state(event.summary)
        if pod.state != before:
            pod.changed = mono
            if event.change != "present":
                yield f"pod {pod.name}: {before + ' → ' if before else ''}{pod.state}"

    @property
    def sparkline(self) -> list[float | None]:
        """Goodput of each of the last 60 whole seconds, None where nothing ended."""
        now = int(self.now)
        cells = (self.goodput_by_second.get(second) for second in range(now - 60, now))
        return [cell[0] / cell[1] if cell else None for cell in cells]

    def goodput(self) -> float | None:
        """Share of good requests among those that ended in the last seconds; None where none did."""
        ended = [record for record in self.recent if record.end >= self.now - WINDOW]
        return sum(slis.good(record, self.slo) for record in ended) / len(ended) if ended else None

    def ttft(self) -> list[float]:
        """TTFT of the requests that ended in the last seconds, sorted."""
        return sorted(
            record.ttft for record in self.recent if record.ttft is not None and record.end >= self.now - WINDOW
        )

    def short(self, text: str) -> str:
        """The text with the names of pods as short as a person at a console can still tell them apart."""
        names = {pod.name for pod in self.pods.values()}
        names |= {ref.name for fault in self.faults.values() for ref in fault.targets}
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(name, short_name(name))
        return text


def short_name(name: str) -> str:
    """``…2z4qj`` for what a controller has named; ``…vllm-0`` for a member of a set; a short name as it is."""
    parts = name.split("-")
    if len(name) <= LONG or len(parts) < 2:
        return name
    return "…" + (parts[-1] if len(parts[-1]) > 3 else "-".join(parts[-2:]))


def pod_state(summary: dict[str, object]) -> str:
    """One word for a pod: what a person would look at first."""
    if summary.get("deleting"):
        return "terminating"
    if summary.get("ready"):
        return "ready"
    reason = summary.get("reason")
    if reason:
        return str(reason)
    phase = str(summary.get("phase") or "pending").lower()
    return "starting" if phase == "running" else phase
