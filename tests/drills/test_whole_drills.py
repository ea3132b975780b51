"""Whole drills on a real sandbox: real processes are broken, real requests measured, and it is all put back."""

from __future__ import annotations

import json

import pytest
from drill_bench import HANG, until

pytestmark = pytest.mark.root
REPORTS = {"report.html", "report.md", "report.json", "junit.xml", "playbook.md"}


def test_a_killed_pod_is_judged_and_reported_and_its_journal_alone_says_the_same(bench):
    experiment = bench.experiment(
        {"fault": "pod-kill", "force": True, "bites": "ready-engines < 3"},
        expect=["recovered within 15s of inject", "goodput >= 20%"],
        playbook="replica-down",
    )
    before = {pod["metadata"]["uid"] for pod in bench.engines()}
    code, out, err, folder = bench.run(experiment, "--json")
    told = json.loads(out)
    assert (told["verdict"], told["status"], told["undo"]) == ("held", "completed", "nothing-to-undo"), out
    assert code == told["exit_code"] == 0, err
    assert told["run"] == str(folder)
    assert len(before - {pod["metadata"]["uid"] for pod in bench.engines()}) == 1
    assert set(told["reports"].values()) >= {str(folder / name) for name in REPORTS}
    assert {path.name for path in folder.iterdir()} >= REPORTS
    assert (folder.parent / "latest").resolve() == folder
    assert bench.records() == []

    again = bench.shell("check", folder, "--json")
    assert again.returncode == code
    judged = json.loads(again.stdout)
    assert judged == {key: value for key, value in told.items() if key != "reports"}

    texts = {name: (folder / name).read_text() for name in REPORTS}
    for name in REPORTS:
        (folder / name).unlink()
    assert bench.shell("report", folder).returncode == 0
    assert {name: (folder / name).read_text() for name in REPORTS} == texts


@pytest.mark.whole
def test_a_hang_is_undone_and_what_stayed_green_is_refuted(bench):
    experiment = bench.experiment(
        HANG | {"for": "4s"},
        expect=["green-while-broken < 1s", "recovered within 5s of undo"],
        observe="8s",
    )
    running = bench.start(experiment)
    running.fault_is("bit")
    assert bench.stopped() == 1
    (record,) = bench.records()
    running.fault_is("undone")
    assert bench.stopped() == 0
    code, out, err = running.end()
    assert code == 1, out + err
    assert "REFUTED  green-while-broken was" in out
    assert "✓ recovered within 5s of undo" in out
    assert "users failed for" in out
    assert "phase: undo" in err
    assert f"drillbook check {running.folder.relative_to(bench.folder)}" in out
    assert json.loads((running.folder / "undo.json").read_text())["entries"][0]["state"] == "undone"
    assert record.endswith(json.loads((running.folder / "undo.json").read_text())["run_id"])
    assert bench.records() == []


@pytest.mark.whole
def test_a_crashed_engine_comes_back_by_itself(bench):
    experiment = bench.experiment(
        {"fault": "process-kill", "process": "VLLM::EngineCore"}, expect=["recovered within 20s of inject"]
    )
    before = bench.engine_cores()
    code, out, err, _ = bench.run(experiment)
    assert code == 0, out + err
    assert "undo nothing-to-undo" in out
    assert len(set(before) - set(bench.engine_cores())) == 1
    until(bench.whole, 60)


@pytest.mark.whole
def test_what_is_expected_of_the_undo_is_waited_for_after_it(bench):
    """The hang is held to the end of the observation, so that users are served again only during settle."""
    experiment = bench.experiment(HANG, expect=["recovered within 3s of undo"], observe="3s", settle="500ms")
    code, out, err, _ = bench.run(experiment)
    assert code == 0, out + err
    assert "✓ recovered within 3s of undo" in out
    assert bench.stopped() == 0
