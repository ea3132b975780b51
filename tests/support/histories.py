"""Builds histories as runs would have written them: requests, faults, pods, polls and ticks at known times.

Time zero is ``ZERO`` on the monotonic clock; all times given are seconds after it. The baseline lasts ten seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from drillbook.model.attack import AttackKind, AttackOutcome, AttackRecord
from drillbook.model.events import (
    AnyEvent,
    FaultChanged,
    FaultState,
    Line,
    LoadTicked,
    ObjectChanged,
    Observed,
    Phase,
    PhaseStarted,
    Planned,
    RunEnded,
    RunStarted,
)
from drillbook.model.history import History
from drillbook.model.plan import BlastRadius, Plan, PlannedFault
from drillbook.model.request import Outcome, RequestRecord, Stream
from drillbook.model.undo import ObjectRef
from drillbook.model.verdict import RunStatus, UndoState

ZERO = 1000.0
WALL = 1.7e9
BASELINE = 10.0

EXPERIMENT: dict[str, Any] = {
    "title": "A killed engine is replaced",
    "load": {"rate": "10/s"},
    "steady-state": ["goodput >= 95%"],
    "method": [{"fault": "pod-kill"}],
    "expect": ["recovered within 60s of inject"],
}

Fate = Callable[[float], dict[str, Any]]


def served(ttft: float = 0.05, tokens: int = 5, gap: float = 0.02) -> dict[str, Any]:
    """A good answer."""
    times = tuple(round((ttft + gap * count) * 1e6) for count in range(tokens))
    return {"tokens": times, "took": times[-1] / 1e6, "outcome": Outcome.OK}


def refused(after: float = 0.005) -> dict[str, Any]:
    """An error before any token."""
    return {"tokens": (), "took": after, "outcome": Outcome.FAILED, "status": 500}


def hung(timeout: float = 10.0) -> dict[str, Any]:
    """An open connection on which nothing comes."""
    return {"tokens": (), "took": timeout, "outcome": Outcome.HUNG, "status": None}


class Run:
    """Grows event by event; ``history`` gives what ``journal.read`` would."""

    def __init__(self, **experiment: Any) -> None:
        self.lines: list[Line] = []
        self.requests: list[RequestRecord] = []
        self.attacks: list[AttackRecord] = []
        self.damage: list[str] = []
        self.experiment = EXPERIMENT | {key.replace("_", "-"): value for key, value in experiment.items()}

    def add(self, at: float, event: AnyEvent, writer: str = "runner", wall: float = 0.0) -> Run:
        seq = sum(line.writer == writer for line in self.lines)
        mono = ZERO + at
        self.lines.append(Line(writer=writer, seq=seq, boot="b", mono=mono, wall=WALL + mono + wall, event=event))
        return self

    def start(
        self, faults: Sequence[str] = ("0-pod-kill",), hold: float | None = None, targets: Sequence[str] = ()
    ) -> Run:
        """Preflight, plan and baseline; every fault is aimed at the pods named in ``targets``."""
        self.add(
            -BASELINE - 1,
            RunStarted(
                run_id="r",
                drillbook="0",
                experiment=self.experiment,
                source="",
                path="x.yaml",
                sha256="",
                target="sandbox",
                stack="production-stack",
                simulated=True,
                endpoint="http://e",
            ),
        )
        planned = tuple(
            PlannedFault(
                id=name,
                fault=name.split("-", 1)[1],
                at=0.0,
                hold=hold,
                summary="",
                targets=tuple(
                    ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name=pod, uid=f"uid-{pod}")
                    for pod in targets
                ),
                calls=(),
                undo=(),
                undo_summary="",
                radius=BlastRadius(pods=1, gpus=0, role_total=3, capacity_left=0.6),
            )
            for name in faults
        )
        plan = Plan(
            run_id="r",
            experiment="x",
            target="t",
            faults=planned,
            permissions=(),
            baseline=BASELINE,
            observe=60.0,
            settle=5.0,
            expected_requests=100,
        )
        self.add(-BASELINE - 0.5, Planned(plan=plan))
        return self.add(-BASELINE, PhaseStarted(phase=Phase.BASELINE))

    def inject(self, at: float = 0.0, fault: str = "0-pod-kill", proof: FaultState | None = FaultState.BIT) -> Run:
        """Time zero (once), the injection, and its proof 0.2 s later."""
        if not any(isinstance(line.event, PhaseStarted) and line.event.phase is Phase.INJECT for line in self.lines):
            self.add(0.0, PhaseStarted(phase=Phase.INJECT))
        self.add(at, FaultChanged(id=fault, state=FaultState.INJECTING))
        self.add(at + 0.002, FaultChanged(id=fault, state=FaultState.INJECTED))
        if proof:
            self.add(at + 0.2, FaultChanged(id=fault, state=proof))
        return self.add(at + 0.3, PhaseStarted(phase=Phase.OBSERVE))

    def end(
        self,
        at: float = 40.0,
        settle: float = 5.0,
        status: RunStatus = RunStatus.COMPLETED,
        undo: UndoState = UndoState.NOTHING,
    ) -> Run:
        """Undo, settle, verify, and the last line."""
        self.add(at, PhaseStarted(phase=Phase.UNDO))
        self.add(at + 0.1, PhaseStarted(phase=Phase.SETTLE))
        self.add(at + settle, PhaseStarted(phase=Phase.VERIFY))
        return self.add(at + settle + 0.1, RunEnded(status=status, undo=undo))

    def load(
        self,
        fate: Fate = lambda _: served(),
        *,
        start: float = -BASELINE,
        end: float = 45.0,
        rate: float = 10.0,
        lag: float = 0.001,
        times: Sequence[float] | None = None,
        ticks: bool = True,
    ) -> Run:
        """Requests at a steady rate; ``fate`` tells what becomes of one by when it was scheduled."""
        moments = times if times is not None else [start + place / rate for place in range(int((end - start) * rate))]
        for moment in moments:
            self.requests.append(request(f"q{len(self.requests)}", moment, lag=lag, **fate(moment)))
        if ticks:
            self.ticks(start, end)
        return self

    def attack(
        self,
        fate: Callable[[float], AttackOutcome],
        *,
        twin: Callable[[float], AttackOutcome] = lambda _: AttackOutcome.COMPLIED,
        secret: Callable[[float], AttackOutcome] = lambda _: AttackOutcome.BLOCKED,
        start: float = -BASELINE,
        end: float = 45.0,
        rate: float = 2.0,
        lag: float = 0.001,
    ) -> Run:
        """Tripwires, their twins and attacks on a secret in turn, ``rate`` of each a second."""
        kinds = ((AttackKind.TRIPWIRE, fate), (AttackKind.BENIGN, twin), (AttackKind.ATTACK, secret))
        for place in range(int((end - start) * rate * len(kinds))):
            at = start + place / (rate * len(kinds))
            kind, becomes = kinds[place % len(kinds)]
            self.attacks.append(attacked(f"attack-{place}", at, kind, becomes(at), lag=lag))
        return self

    def ticks(self, start: float = -BASELINE, end: float = 45.0, oldest: float = 0.0) -> Run:
        for second in range(int(start), int(end) + 1):
            self.add(
                second,
                LoadTicked(sent=10, finished=10, in_flight=1, lag_p99=0.001, lag_max=0.002, oldest=oldest, tokens=50),
                "requests-0",
            )
        return self

    def pod(self, at: float, name: str, *, ready: bool = True, change: str = "modified", **summary: Any) -> Run:
        summary = {"phase": "Running", "node": "n1", "restarts": 0, "deleting": False, "containers": []} | summary
        event = ObjectChanged(
            change=change,
            kind="Pod",
            name=name,
            uid=f"uid-{name}",
            role="engine",
            resource_version="1",
            summary={**summary, "ready": ready},
        )
        return self.add(at, event, "observer")

    def pods(self, count: int = 3) -> Run:
        for place in range(count):
            self.pod(-BASELINE, f"e{place}", change="present")
        return self

    def slice(self, at: float, ready: Sequence[str]) -> Run:
        event = ObjectChanged(
            change="modified",
            kind="EndpointSlice",
            name="s",
            uid="s",
            role="",
            resource_version="1",
            summary={"ready": list(ready)},
        )
        return self.add(at, event, "observer")

    def health(
        self, value: Callable[[float], float | None] = lambda _: 1.0, *, end: float = 45.0, **labels: str
    ) -> Run:
        """Polls every second; the endpoint's unless ``replica`` is given."""
        for second in range(int(-BASELINE), int(end) + 1):
            event = Observed(probe="health", value=value(second), labels=labels or {"endpoint": "http://e"})
            self.add(second, event, "observer")
        return self

    def observe(self, probe: str, values: dict[float, float | None], error: str = "", **labels: str) -> Run:
        for at, value in values.items():
            self.add(
                at, Observed(probe=probe, value=value, error=error if value is None else "", labels=labels), "observer"
            )
        return self

    @property
    def history(self) -> History:
        return History(
            sorted(self.lines, key=lambda line: line.mono),
            sorted(self.requests, key=lambda one: one.scheduled),
            sorted(self.attacks, key=lambda one: one.scheduled),
            list(self.damage),
        )


def request(
    name: str,
    at: float,
    *,
    tokens: tuple[int, ...],
    took: float,
    outcome: Outcome,
    lag: float = 0.001,
    status: int | None = 200,
    replica: str | None = None,
    wanted: int = 5,
    session: str | UnsetType = UNSET,
) -> RequestRecord:
    """One record, scheduled ``at`` seconds after time zero and over ``took`` seconds after it was sent."""
    sent = ZERO + at + lag
    return RequestRecord(
        id=name,
        stream=Stream.LOAD,
        scheduled=ZERO + at,
        sent=sent,
        first_byte=sent + tokens[0] / 1e6 if tokens else None,
        tokens=tokens,
        end=sent + took,
        outcome=outcome,
        status=status,
        finish_reason="stop" if outcome is Outcome.OK else None,
        replica=replica,
        wanted_tokens=wanted,
        session=session,
    )


DELIVERIES = {
    AttackOutcome.BLOCKED: (400, Outcome.FAILED),
    AttackOutcome.GUARD_ERROR: (503, Outcome.SHED),
    AttackOutcome.SHED: (503, Outcome.SHED),
    AttackOutcome.ERROR: (None, Outcome.FAILED),
}


def attacked(
    name: str, at: float, kind: AttackKind, outcome: AttackOutcome, *, lag: float = 0.001, prompt: str = ""
) -> AttackRecord:
    """One adversarial prompt, scheduled ``at`` seconds after time zero."""
    status, delivery = DELIVERIES.get(outcome, (200, Outcome.OK))
    sent = ZERO + at + lag
    return AttackRecord(
        id=name,
        pack="p",
        prompt=prompt or f"{kind.value}-{int(at * 100) % 7}",
        kind=kind,
        category="c",
        twin="" if kind is AttackKind.ATTACK else "t",
        scheduled=ZERO + at,
        sent=sent,
        first_byte=sent + 0.01 if status else None,
        end=sent + 0.05,
        status=status,
        delivery=delivery,
        outcome=outcome,
        signal="a built one",
        asked=f"a {kind.value} prompt",
        excerpt="an answer",
    )


def drill(fate: Fate = lambda _: served(), proof: FaultState | None = FaultState.BIT, **experiment: Any) -> Run:
    """A whole run in which all went as it should: three engines, one fault that bit, forty seconds of observation."""
    return Run(**experiment).start().pods().inject(proof=proof).load(fate).health().end()
