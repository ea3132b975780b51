"""What is known before anything is broken: plans, and runs refused with exit code 4 and without a folder."""

from __future__ import annotations

import json
import shutil

import pytest
from drill_bench import HANG

from drillbook.errors import PreflightError, UsageError
from drillbook.load import process

pytestmark = pytest.mark.root
LEASE = "/apis/coordination.k8s.io/v1/namespaces/llm/leases/drillbook-target"


async def refused(bench, experiment, **spec) -> str:
    """What a refused run says; it broke nothing, and there is nothing of it."""
    with pytest.raises(PreflightError) as error:
        await bench.drill(experiment, **spec)
    assert error.value.exit_code == 4
    untouched(bench)
    return error.value.message


def untouched(bench) -> None:
    assert list(bench.runs.glob("*")) == []
    assert bench.stopped() == 0
    assert bench.records() == []
    assert not bench.holder()


def test_a_plan_shows_the_exact_calls_and_touches_nothing(bench):
    experiment = bench.experiment(HANG, {"fault": "pod-kill", "at": "2s", "grace": "1s"})
    before = bench.versions()
    with bench.denied(verbs=["delete"], resources=["pods"]):
        told = bench.here("plan", experiment)
    assert told.returncode == 0, told.stderr
    assert bench.versions() == before
    victims = [pod for pod in bench.engines() if pod["metadata"]["name"] in told.stdout]
    assert len(victims) == 2, "each step has a victim of its own"
    assert any(f"DELETE /api/v1/namespaces/llm/pods/{pod['metadata']['name']}" in told.stdout for pod in victims)
    assert any(pod["metadata"]["uid"] in told.stdout for pod in victims)
    assert "/exec?container=vllm" in told.stdout
    assert "SIGCONT to the same VLLM::EngineCore" in told.stdout
    assert "! permissions: missing: delete pods" in told.stdout
    assert "Nothing was touched." in told.stdout
    again = json.loads(bench.here("plan", experiment, "--json").stdout)
    assert [fault["fault"] for fault in again["faults"]] == ["process-hang", "pod-kill"]


def test_a_refused_run_exits_4_says_what_to_do_and_leaves_no_folder(bench):
    running = bench.start(bench.experiment(HANG), "--endpoint", "http://127.0.0.1:9")
    code, out, err = running.end()
    assert code == 4, err
    assert out == ""
    assert "error: preflight failed: endpoint: http://127.0.0.1:9 does not answer" in err
    assert "nothing was touched; `drillbook doctor` shows what the target allows" in err
    untouched(bench)


async def test_a_step_that_selects_nothing_is_refused(bench):
    told = await refused(bench, bench.experiment({"fault": "pod-kill", "names": ["nobody"]}))
    assert "no running engine pod is called nobody" in told


async def test_a_blast_radius_beyond_the_limits_is_refused(bench):
    told = await refused(bench, bench.experiment({"fault": "pod-kill", "count": "all"}))
    assert "the blast radius is too large: 0% of the engines stay untouched" in told


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"verbs": ["delete"], "resources": ["configmaps"]}, "missing: delete configmaps"),
        ({"verbs": ["list"], "resources": ["pods"]}, "missing: list pods"),
        ({"verbs": ["watch"], "resources": ["events", "endpointslices"]}, "missing: watch endpointslices"),
        ({"verbs": ["get", "create"], "resources": ["pods/exec", "pods"]}, "pods"),
        ({"verbs": ["get"], "resources": ["leases"]}, "missing: get leases"),
    ],
    ids=["the undo record", "looking", "watching", "the fault", "the Lease"],
)
async def test_a_missing_permission_is_named_before_anything_is_touched(bench, rule, told):
    with bench.denied(**rule):
        assert told in await refused(bench, bench.experiment(HANG))


async def test_everything_that_is_wrong_is_told_at_once(bench):
    experiment = bench.experiment({"fault": "pod-kill", "count": "all"})
    with bench.denied(verbs=["update"], resources=["configmaps", "leases"]):
        told = await refused(bench, experiment, endpoint="http://127.0.0.1:9")
    assert "missing: update configmaps, update leases.coordination.k8s.io" in told
    assert "http://127.0.0.1:9 does not answer" in told
    assert "the blast radius is too large" in told


async def test_what_fails_once_the_lease_is_held_is_taken_down_again(bench, monkeypatch):
    """Lease, record and watchdog are there when the generator does not start: all of it goes again."""
    monkeypatch.setattr(process, "READY", 0.0)
    assert "the load generator 'load' cannot go on" in await refused(bench, bench.experiment(HANG))


async def test_a_run_folder_that_cannot_be_made_is_refused(bench):
    bench.runs.write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot make a run folder"):
        await bench.drill(bench.experiment(HANG))
    assert bench.records() == []
    assert not bench.holder()


@pytest.mark.whole
def test_a_second_run_while_one_is_at_work_is_refused_and_the_first_goes_on(bench):
    first = bench.start(bench.experiment(HANG))
    first.reaches("baseline")
    second = bench.start(bench.experiment(HANG), "--runs", str(bench.folder / "elsewhere"))
    code, _, err = second.end()
    assert code == 4, err
    assert "is at work on namespace llm: one run at a time on a target" in err
    assert not (bench.folder / "elsewhere").exists()
    first.fault_is("bit")
    first.process.terminate()
    assert first.end()[0] == 130
    assert bench.stopped() == 0


async def test_a_steady_state_that_does_not_hold_before_breaks_nothing(bench):
    from drillbook.cli.drill import tell
    from drillbook.cli.where import Where

    experiment = bench.experiment(HANG, steady_state=["ttft.p50 < 1ms"], baseline="2s")
    folder = await bench.drill(experiment)
    assert tell(folder, Where(), as_json=False) == 3
    text = (folder / "journal.jsonl").read_text()
    assert "nothing is injected: " in text
    assert "fault-changed" not in text
    assert (folder / "report.html").is_file()
    shutil.rmtree(bench.runs)
    untouched(bench)
