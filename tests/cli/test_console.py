"""The live console: what a run looks like on a terminal of a given size, and in a log."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from drillbook import clock
from drillbook.cli.console import RunConsole
from drillbook.cli.liveview import short_name
from drillbook.experiments.load import load
from drillbook.model.events import (
    AnyEvent,
    FaultChanged,
    FaultState,
    Line,
    LoadTicked,
    ObjectChanged,
    Phase,
    PhaseStarted,
    Planned,
    PreflightChecked,
)
from drillbook.model.plan import BlastRadius, Plan, PlannedFault
from drillbook.model.request import Outcome, RequestRecord, Stream
from drillbook.model.undo import ObjectRef

PODS = [f"vllm-a-rather-long-model-name-deployment-vllm-6d5f8b9c7-{end}" for end in ("x2x4z", "k8k9q", "p0p1w")]
SIZES = [(120, 40), (80, 24), (60, 15)]


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "hang.yaml"
    path.write_text(
        "title: A hung engine is noticed before users have waited long, or so everybody who runs one hopes\n"
        "load: {rate: 10/s}\nslo: {ttft: 2s}\nbaseline: 10s\nsteady-state: [goodput >= 95%]\n"
        "method: [{fault: process-hang, for: 20s}]\nexpect: [goodput >= 50%]\nobserve: 80s\n"
    )
    return load(path).experiment


class Shown:
    """A run that is told line by line to a console of a fixed size."""

    def __init__(self, experiment, width: int, height: int, *, terminal: bool) -> None:
        self.out = io.StringIO()
        console = Console(
            file=self.out, width=width, height=height, force_terminal=terminal, color_system=None, highlight=False,
            legacy_windows=False,
        )  # fmt: skip
        self.width, self.height = width, height
        self.start = clock.monotonic() - 14
        self.sut = RunConsole(experiment, "sandbox default (sim)/llm", console)
        self._numbers = itertools.count()

    def tell(self, at: float, event: AnyEvent) -> None:
        mono = self.start + at
        self.sut.handle(Line(writer="runner", seq=next(self._numbers), boot="b", mono=mono, wall=mono, event=event))

    def answer(self, at: float, outcome: Outcome = Outcome.OK, ttft: float = 0.04) -> None:
        end = self.start + at
        tokens = (round(ttft * 1e6),) if outcome is Outcome.OK else ()
        self.tell(at, RequestRecord(
            id="load-1", stream=Stream.LOAD, scheduled=end - 0.3, sent=end - 0.3, first_byte=None, tokens=tokens,
            end=end, outcome=outcome, status=200,
        ))  # fmt: skip

    def pod(self, at: float, name: str, change: str = "present", **summary) -> None:
        summary = {"phase": "Running", "ready": True, "node": "gpu-node-a", "restarts": 0} | summary
        self.tell(at, ObjectChanged(
            change=change, kind="Pod", name=name, uid=name, role="engine", resource_version="1", summary=summary
        ))  # fmt: skip

    def screen(self) -> list[str]:
        """The rows of the live region."""
        canvas = Console(
            file=io.StringIO(), width=self.width, height=self.height, force_terminal=True, color_system=None,
            legacy_windows=False,
        )  # fmt: skip
        self.sut.console.size = canvas.size
        canvas.print(self.sut.render())
        file = canvas.file
        assert isinstance(file, io.StringIO)
        return file.getvalue().splitlines()


def hang(shown: Shown, pods=PODS) -> Shown:
    """A hang, five seconds after the injection."""
    refs = [ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name=PODS[0], uid=PODS[0])]
    fault = PlannedFault(
        id="0-process-hang", fault="process-hang", at=0, hold=20, targets=tuple(refs), calls=(), undo=(),
        undo_summary="", summary="SIGSTOP to VLLM::EngineCore in 1 of 3 engine pods",
        radius=BlastRadius(pods=1, gpus=1, role_total=3, capacity_left=0.67),
    )  # fmt: skip
    plan = Plan(run_id="r", experiment="e", target="t", faults=(fault,), permissions=(), baseline=10, observe=80,
                settle=5, expected_requests=900)  # fmt: skip
    shown.tell(0, PhaseStarted(phase=Phase.PREFLIGHT))
    shown.tell(0, PreflightChecked(name="engines", ok=True, detail="3 of 3 ready"))
    shown.tell(0, Planned(plan=plan))
    shown.tell(1, PhaseStarted(phase=Phase.BASELINE))
    for pod in pods:
        shown.pod(1, pod)
    for tenth in range(10, 90):
        shown.answer(tenth / 10)
    shown.tell(9, PhaseStarted(phase=Phase.INJECT))
    shown.tell(9, FaultChanged(id=fault.id, state=FaultState.INJECTING))
    shown.tell(9.1, FaultChanged(id=fault.id, state=FaultState.BIT, detail=f"stopped (state T) in {PODS[0]}"))
    shown.tell(9.2, PhaseStarted(phase=Phase.OBSERVE))
    for tenth in range(90, 130):
        shown.answer(tenth / 10, Outcome.HUNG if tenth % 3 == 0 else Outcome.OK)
    shown.tell(13, LoadTicked(sent=120, finished=110, in_flight=9, lag_p99=0, lag_max=0, oldest=4.2, tokens=310))
    shown.tell(13.5, FaultChanged(id="0-process-hang", state=FaultState.BIT, detail="x" * 300))
    return shown


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_nothing_wraps_and_the_screen_fits_the_terminal(experiment, width, height):
    shown = hang(Shown(experiment, width, height, terminal=True))
    rows = shown.screen()
    assert {len(row) for row in rows} == {width}
    assert len(rows) <= height
    assert sum("goodput, " in row for row in rows) == 1
    assert "observe" in rows[1]


def test_the_screen_says_where_the_run_is_what_users_see_and_how_the_pods_are(experiment):
    rows = hang(Shown(experiment, 120, 40, terminal=True)).screen()
    text = "\n".join(rows)
    assert "A hung engine is noticed" in rows[0]
    assert "sandbox default (sim)/llm" in rows[-1]
    assert "observe: " in text
    assert "s of at most 80s" in text
    assert "goodput 6" in text
    assert "TTFT p50 40ms p95 40ms   310 tok/s   in flight 9   oldest silent for 4.2s   hung 14" in text
    assert "process-hang  SIGSTOP to VLLM::EngineCore in 1 of 3 engine pods  it bit" in text
    assert "s to go" in text
    assert [row.split()[2] for row in rows if "● ready" in row] == ["…k8k9q", "…p0p1w", "…x2x4z"]
    spark = next(row for row in rows if "goodput, " in row)
    assert "████████" in spark
    assert any(block in spark for block in "▅▆")


def test_the_height_stays_while_things_happen(experiment):
    shown = hang(Shown(experiment, 100, 40, terminal=True))
    before = len(shown.screen())
    for number in range(30):
        shown.pod(13.6, PODS[1], "modified", ready=number % 2 == 0)
    assert len(shown.screen()) == before


def test_of_a_fleet_what_is_not_well_is_shown_first(experiment):
    shown = hang(Shown(experiment, 100, 24, terminal=True), pods=[f"engine-{number}" for number in range(200)])
    shown.pod(13.6, "engine-150", "modified", ready=False, reason="CrashLoopBackOff", restarts=2)
    rows = shown.screen()
    assert len(rows) <= 24
    pods = [row for row in rows if "●" in row]
    assert "engine-150" in pods[0]
    assert "CrashLoopBackOff" in pods[0]
    assert "2 restarts" in pods[0]
    assert any(" more, " in row and " of them ready" in row for row in rows)


def test_what_cannot_be_overlooked_stays_above_the_live_region_in_one_row_each(experiment):
    shown = Shown(experiment, 80, 24, terminal=True)
    with shown.sut:
        hang(shown)
    lines = [row for row in shown.out.getvalue().splitlines() if "process-hang: it bit" in row]
    assert lines
    assert all("…x2x4z" in row or row.rstrip().endswith("…") for row in lines)
    assert PODS[0] not in shown.out.getvalue()


def test_a_log_is_spoken_to_in_whole_lines_with_whole_names(experiment):
    shown = Shown(experiment, 80, 24, terminal=False)
    with shown.sut:
        hang(shown)
    rows = shown.out.getvalue().splitlines()
    assert f"   T+0.1s  process-hang: it bit (stopped (state T) in {PODS[0]})" in rows
    assert "     1.0s  phase: baseline" in rows
    assert any("goodput" in row and "tok/s" in row for row in rows)
    assert not any("\x1b" in row or "╭" in row for row in rows)


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("engine-0", "engine-0"),
        ("vllm-tiny-llama-deployment-vllm-dglkmflhmf-2z4qj", "…2z4qj"),
        ("a-stateful-set-with-a-long-name-12", "…name-12"),
        ("averylongnamewithoutanydashesinit", "averylongnamewithoutanydashesinit"),
    ],
)
def test_long_names_are_told_by_what_tells_them_apart(name, short):
    assert short_name(name) == short
