"""Synthetic runs: a killed pod whose replacement comes, and a hung engine whose health stays green.

Deterministic, and written with the types that a real journal is read into, so that reports are tested without a target.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drillbook.model import events as ev
from drillbook.model.history import History
from drillbook.model.judgement import Judgement
from drillbook.model.plan import BlastRadius, Call, Plan, PlannedFault
from drillbook.model.request import Outcome, RequestRecord, Stream
from drillbook.model.undo import EntryState, ObjectRef, ProcessRef, SignalProcess, UndoEntry
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict
from drillbook.probes.clocks import read as read_clocks
from drillbook.probes.names import ITERATIONS, RUNNING
from drillbook.reports.clocks import total
from drillbook.reports.facts import Facts, facts

ZERO = 1015.0
WALL = 1_795_000_000.0  # 2026-11-18T10:26:40Z
TITLE = "A killed GPU pod is replaced before users notice"
PODS = ("vllm-7c9f6d-2x8kq", "vllm-7c9f6d-9jw4p", "vllm-7c9f6d-m5t7z")


@dataclass
class Run:
    """A history being written: times are seconds after time zero."""

    history: History = field(default_factory=History)
    seq: int = 0

    def add(self, t: float, event: ev.AnyEvent, writer: str = "control") -> None:
        self.seq += 1
        line = ev.Line(writer=writer, seq=self.seq, boot="b00t1d00", mono=ZERO + t, wall=WALL + t, event=event)
        self.history.lines.append(line)

    def done(self) -> History:
        self.history.lines.sort(key=lambda line: line.mono)
        self.history.requests.sort(key=lambda request: request.scheduled)
        return self.history

    def fault(self, t: float, fault_id: str, state: ev.FaultState, detail: str = "") -> None:
        self.add(t, ev.FaultChanged(id=fault_id, state=state, detail=detail))

    def pod(self, t: float, name: str, change: str = "modified", **summary: Any) -> None:
        whole = {"phase": "Running", "ready": False, "node": "gpu-node-0", "gpus": 1, "deleting": False, **summary}
        self.add(
            t,
            ev.ObjectChanged(
                change=change,
                kind="Pod",
                name=name,
                uid=f"uid-{name}",
                role="engine",
                resource_version="1",
                summary=whole,
            ),
            "watch",
        )

    def endpoints(self, t: float, ready: tuple[str, ...]) -> None:
        self.add(
            t,
            ev.ObjectChanged(
                change="modified",
                kind="EndpointSlice",
                name="vllm-x",
                uid="uid-slice",
                role="",
                resource_version="1",
                summary={"ready": list(ready)},
            ),
            "watch",
        )


def reference(name: str) -> ObjectRef:
    return ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name=name, uid=f"uid-{name}")


def begin(run: Run, fault: PlannedFault, playbook: str, title: str, why: str) -> None:
    run.add(
        -18.0,
        ev.RunStarted(
            run_id="20261118-102622-a1b2",
            drillbook="0.1.0",
            experiment={
                "title": title,
                "why": why,
                "target": {"stack": "production-stack", "namespace": "llm"},
                "load": {"rate": "6/s", "prompts": "chat", "output-tokens": 48, "stream": True, "stall-timeout": "10s"},
                "slo": {"ttft": "800ms"},
                "steady-state": ["goodput >= 95%", "ttft.p95 < 800ms"],
                "method": [{"at": "5s", "fault": fault.fault, "role": "engine"}],
                "expect": ["recovered within 90s of inject"],
                "playbook": playbook,
            },
            source="title: …\n",
            path=f"experiments/{playbook}.yaml",
            sha256="9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            target="sandbox default (sim)",
            stack="production-stack",
            simulated=True,
            endpoint="http://10.231.0.5:8000",
            facts={
                "kubernetes": "sandbox 1.34",
                "vllm": "sim of 0.32.0",
                "router": "vllm-router 0.1.17",
                "replicas": "3",
                "model": "tiny-llama",
            },
        ),
    )
    run.add(
        -17.5,
        ev.Planned(
            plan=Plan(
                run_id="20261118-102622-a1b2",
                experiment=title,
                target="sandbox default (sim)",
                faults=(fault,),
                permissions=(),
                baseline=15.0,
                observe=120.0,
                settle=5.0,
                expected_requests=600,
            )
        ),
    )
    run.add(-17.9, ev.PhaseStarted(phase=ev.Phase.PREFLIGHT))
    run.add(-17.0, ev.PreflightChecked(name="permissions", ok=True, detail="all 4 allowed"))
    run.add(-15.0, ev.PhaseStarted(phase=ev.Phase.BASELINE))
    run.add(0.0, ev.PhaseStarted(phase=ev.Phase.INJECT))
    for name in PODS:
        run.pod(-15.0, name, "present", ready=True)
    run.endpoints(-15.0, PODS)


def finish(run: Run, observed: float, undo: UndoState) -> None:
    run.add(observed, ev.PhaseStarted(phase=ev.Phase.UNDO))
    run.add(observed + 0.3, ev.PhaseStarted(phase=ev.Phase.SETTLE))
    run.add(observed + 5.3, ev.PhaseStarted(phase=ev.Phase.VERIFY))
    run.add(observed + 5.9, ev.RunEnded(status=RunStatus.COMPLETED, undo=undo))


def traffic(
    run: Run,
    until: float,
    outcome_at: Callable[[float, str, random.Random], tuple[Outcome, float]],
    rate: float = 6.3,
    killed: str = "",
    heir: str = "",
) -> None:
    """Open-loop requests from -15 s on. ``outcome_at(t, pod, rng)`` gives the outcome and a factor on latency."""
    rng = random.Random(7)
    t, number = -15.0, 0
    while (t := t + rng.expovariate(rate)) < until:
        number += 1
        pod = PODS[number % 3]
        outcome, slow = outcome_at(t, pod, rng)
        sent = ZERO + t + rng.uniform(0.0002, 0.002)
        ttft = rng.lognormvariate(-2.1, 0.25) * slow
        count = {Outcome.OK: 48, Outcome.TRUNCATED: rng.randint(4, 40)}.get(outcome, 0)
        token, tokens = ttft, []
        for _ in range(count):
            tokens.append(round(token * 1e6))
            token += rng.lognormvariate(-3.9, 0.2) * slow
        end = {Outcome.HUNG: 10.0, Outcome.FAILED: 0.05, Outcome.SHED: 0.03}.get(outcome, token + 0.01)
        run.history.requests.append(
            RequestRecord(
                id=f"load-{number:05d}",
                stream=Stream.LOAD,
                scheduled=ZERO + t,
                sent=sent,
                first_byte=sent + 0.01 if count else None,
                tokens=tuple(tokens),
                end=max(sent + end, ZERO + 5.05) if outcome is Outcome.TRUNCATED else sent + end,
                outcome=outcome,
                status={Outcome.FAILED: 500, Outcome.SHED: 503, Outcome.HUNG: 200}.get(outcome, 200),
                error={
                    Outcome.FAILED: "InternalServerError: EngineCore encountered an issue",
                    Outcome.TRUNCATED: "stream ended without a finish reason",
                }.get(outcome, ""),
                finish_reason="length" if outcome is Outcome.OK else None,
                replica=heir if pod == killed and t > 12.1 else pod,
                wanted_tokens=48,
                prompt_tokens=32,
            )
        )
    for second in range(-15, int(until)):
        mine = [r for r in run.history.requests if second <= r.scheduled - ZERO < second + 1]
        run.add(
            second + 1.0,
            ev.LoadTicked(
                sent=len(mine), finished=len(mine), in_flight=4, lag_p99=0.002, lag_max=0.003, oldest=0.4, tokens=288
            ),
            "load-0",
        )


def health(
    run: Run,
    until: float,
    red: Callable[[str, float], bool],
    alive: dict[str, tuple[float, float]] | None = None,
    loaded: tuple[str, float] = ("", 0.0),
) -> None:
    """The router's and the pods' ``/health``, once a second, while each is ``alive``."""
    spans = dict.fromkeys(("router", *PODS), (-15.0, until)) | (alive or {})
    for second in range(-15, int(until)):
        for name, (born, gone) in spans.items():
            t = second + 0.4
            if not born <= t < gone:
                continue
            bad = red(name, t) or (name == loaded[0] and t < loaded[1])
            labels = {"endpoint": "http://10.231.0.5:8000"} if name == "router" else {"replica": name}
            run.add(t, ev.Observed(probe="health", value=0.0 if bad else 1.0, labels=labels, took=0.004), "observer")


def heartbeats(run: Run, until: float, hung: tuple[str, float, float]) -> None:
    """Each engine's running requests and steps, once a second; the hung one's steps stand still."""
    steps = dict.fromkeys(PODS, 100.0)
    for second in range(-15, int(until)):
        for name in PODS:
            t = second + 0.45
            if not (name == hung[0] and hung[1] <= t < hung[2]):
                steps[name] += 50
            for probe, value in ((RUNNING, 2.0), (ITERATIONS, steps[name])):
                run.add(t, ev.Observed(probe=probe, value=value, labels={"replica": name}), "observer")


def build_pod_kill() -> tuple[History, Judgement]:
    run = Run()
    victim, fresh = PODS[1], "vllm-7c9f6d-q2n8v"
    planned = PlannedFault(
        id="0-pod-kill",
        fault="pod-kill",
        at=5.0,
        hold=None,
        summary="delete 1 of 3 engine pods with grace 0s",
        targets=(reference(victim),),
        calls=(
            Call(
                verb="DELETE",
                path=f"/api/v1/namespaces/llm/pods/{victim}",
                body='{"gracePeriodSeconds":0}',
                why="kill without grace",
            ),
        ),
        undo=(),
        undo_summary="nothing to undo: the Deployment makes a replacement",
        radius=BlastRadius(pods=1, gpus=1, role_total=3, capacity_left=2 / 3),
    )
    begin(run, planned, "replica-down", TITLE, "Pod loss is the most common infrastructure incident in LLM serving.")
    run.add(
        5.0, ev.UndoRecorded(entry=UndoEntry(id=planned.id, fault="pod-kill", operations=(), state=EntryState.GONE))
    )
    run.fault(5.0, planned.id, ev.FaultState.INJECTING)
    run.fault(5.06, planned.id, ev.FaultState.INJECTED, f"DELETE pods/{victim}: 200")
    run.fault(5.4, planned.id, ev.FaultState.BIT, "ready engines fell from 3 to 2")
    run.add(6.0, ev.PhaseStarted(phase=ev.Phase.OBSERVE))
    run.pod(5.07, victim, ready=False, deleting=True, phase="Running")
    run.pod(5.3, victim, "deleted", ready=False, deleting=True)
    run.pod(5.2, fresh, "added", phase="Pending", node="")
    run.pod(6.1, fresh, phase="Pending", node="gpu-node-1")
    run.pod(7.4, fresh, phase="Running", node="gpu-node-1")
    run.pod(12.0, fresh, phase="Running", node="gpu-node-1", ready=True)
    run.endpoints(5.25, (PODS[0], PODS[2]))
    run.endpoints(12.05, (PODS[0], PODS[2], fresh))
    run.add(5.9, ev.EvidenceKept(what=f"log of {victim}", path=f"evidence/{victim}.log"))
    health(
        run, 80.0, lambda name, t: name == victim and t > 5.0, {victim: (-15.0, 6.5), fresh: (8.0, 80.0)}, (fresh, 11.2)
    )

    def outcome(t: float, pod: str, rng: random.Random) -> tuple[Outcome, float]:
        if pod == victim and 4.0 < t < 5.0:
            return Outcome.TRUNCATED, 1.0
        if pod == victim and 5.0 <= t < 9.0:
            return (Outcome.FAILED if rng.random() < 0.7 else Outcome.SHED), 1.0
        if 5.0 <= t < 13.0:
            return (Outcome.HUNG if pod == victim and rng.random() < 0.5 else Outcome.OK), 2.6
        return Outcome.OK, 1.0

    traffic(run, 80.0, outcome, killed=victim, heir=fresh)
    finish(run, 75.0, UndoState.NOTHING)
    history = run.done()
    clocks = read_clocks(history)
    findings = (
        Finding(
            expectation="goodput >= 95%",
            role="steady-state",
            verdict=Verdict.HELD,
            value=1.0,
            limit=0.95,
            dimension="share",
            samples=95,
            window=(-15.0, 0.0),
            interval=(0.961, 1.0),
            reason="100% of 95 requests were good in the baseline",
        ),
        Finding(
            expectation="ready-engines < 3",
            role="bite",
            verdict=Verdict.HELD,
            value=2,
            limit=3,
            dimension="count",
            reason="ready engines fell from 3 to 2 within 0.4 s",
            evidence=("control.jsonl:16",),
        ),
        Finding(
            expectation="recovered within 90s of inject",
            role="expect",
            verdict=Verdict.HELD,
            value=clocks.time_to_recover,
            limit=90.0,
            dimension="duration",
            reason=f"recovered {clocks.time_to_recover:.1f} s after the injection",
            evidence=("load-00171",),
        ),
        Finding(
            expectation="green-while-broken < 5s",
            role="expect",
            verdict=Verdict.HELD,
            limit=5.0,
            value=total(clocks.green_while_broken),
            dimension="duration",
            window=(5.0, 75.0),
            reason=f"all signals were green for {total(clocks.green_while_broken):.1f} s while users were failing",
        ),
    )
    return history, Judgement(
        status=RunStatus.COMPLETED,
        undo=UndoState.NOTHING,
        verdict=Verdict.HELD,
        findings=findings,
        clocks=clocks,
        reason=f"All 4 expectations held: users were served again {clocks.time_to_recover:.1f} s after the first harm.",
    )


def build_engine_hang() -> tuple[History, Judgement]:
    run = Run()
    victim = PODS[0]
    planned = PlannedFault(
        id="0-process-hang",
        fault="process-hang",
        at=5.0,
        hold=20.0,
        summary="SIGSTOP VLLM::EngineCore in 1 of 3 engine pods for 20s",
        targets=(reference(victim),),
        calls=(
            Call(
                verb="POST",
                path=f"/api/v1/namespaces/llm/pods/{victim}/exec",
                body="kill -STOP 17",
                why="stop the engine core, leave the API server alive",
            ),
        ),
        undo=(),
        undo_summary="SIGCONT to the same process",
        radius=BlastRadius(pods=1, gpus=1, role_total=3, capacity_left=2 / 3),
    )
    begin(
        run,
        planned,
        "engine-hang",
        "A hung engine is noticed although its health stays green",
        "A hung engine answers /health with 200 for as long as anybody asks.",
    )
    core = ProcessRef(pid=17, start_time=123456, title="VLLM::EngineCore")
    stop = SignalProcess(
        pod=reference(victim), container="vllm", container_id="c0ffee", processes=(core,), signal="CONT"
    )
    run.add(4.9, ev.UndoRecorded(entry=UndoEntry(id=planned.id, fault="process-hang", operations=(stop,))))
    run.fault(5.0, planned.id, ev.FaultState.INJECTING)
    run.fault(5.03, planned.id, ev.FaultState.INJECTED, "SIGSTOP sent to pid 17")
    run.fault(6.0, planned.id, ev.FaultState.BIT, "state of pid 17 is T (stopped)")
    run.add(6.0, ev.PhaseStarted(phase=ev.Phase.OBSERVE))
    run.fault(25.0, planned.id, ev.FaultState.UNDOING)
    run.fault(25.1, planned.id, ev.FaultState.UNDONE, "state of pid 17 is S (sleeping)")
    run.add(
        25.1,
        ev.UndoRecorded(
            entry=UndoEntry(
                id=planned.id,
                fault="process-hang",
                operations=(stop,),
                state=EntryState.UNDONE,
                detail="SIGCONT sent, process runs",
            )
        ),
    )
    run.add(9.0, ev.Noted(actor="on-call", text="users report that answers do not start"))
    health(run, 60.0, lambda name, t: False)
    heartbeats(run, 60.0, (victim, 5.0, 25.0))

    def outcome(t: float, pod: str, rng: random.Random) -> tuple[Outcome, float]:
        if pod == victim and 3.8 < t < 5.0:
            return Outcome.TRUNCATED, 1.0
        if pod == victim and 5.0 <= t < 25.0:
            return Outcome.HUNG, 1.0
        return Outcome.OK, 1.4 if 5.0 <= t < 25.0 else 1.0

    traffic(run, 60.0, outcome)
    finish(run, 55.0, UndoState.CLEAN)
    history = run.done()
    clocks = read_clocks(history)
    lying = total(clocks.green_while_broken)
    findings = (
        Finding(
            expectation="goodput >= 95%",
            role="steady-state",
            verdict=Verdict.HELD,
            value=1.0,
            limit=0.95,
            dimension="share",
            samples=95,
            reason="100% of 95 requests were good in the baseline",
        ),
        Finding(
            expectation="recovered within 60s of undo",
            role="expect",
            verdict=Verdict.HELD,
            value=0.3,
            limit=60.0,
            dimension="duration",
            reason="recovered 300 ms after the undo",
        ),
        Finding(
            expectation="green-while-broken < 5s",
            role="expect",
            verdict=Verdict.REFUTED,
            value=lying,
            limit=5.0,
            dimension="duration",
            reason=f"every health signal was green for {lying:.1f} s while users were failing",
            evidence=("load-00121", "observer:55"),
        ),
    )
    return history, Judgement(
        status=RunStatus.COMPLETED,
        undo=UndoState.CLEAN,
        verdict=Verdict.REFUTED,
        findings=findings,
        clocks=clocks,
        reason=f"Every health signal was green for {lying:.1f} s while users were failing; the limit is 5 s.",
    )


@pytest.fixture(scope="session")
def pod_kill() -> tuple[History, Judgement]:
    return build_pod_kill()


@pytest.fixture(scope="session")
def engine_hang() -> tuple[History, Judgement]:
    return build_engine_hang()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pod_kill_facts(pod_kill: tuple[History, Judgement]) -> Facts:
    return facts(*pod_kill)


@pytest.fixture(scope="session")
def engine_hang_facts(engine_hang: tuple[History, Judgement]) -> Facts:
    return facts(*engine_hang)
