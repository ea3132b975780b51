"""drillbook's actions and probes in the hands of another runner, against real pods; /proc counts what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import side_by_side
from own_sandbox import own_sandbox

from drillbook import catalog
from drillbook.chaostoolkit.export import export
from drillbook.experiments.load import load
from drillbook.site import trust_file

ACTIONS = "drillbook.chaostoolkit.extension.actions"
PROBES = "drillbook.chaostoolkit.extension.probes"


def activity(kind, module, func, **arguments):
    pauses = {"pauses": {"after": arguments.pop("pause")}} if "pause" in arguments else {}
    tolerance = {"tolerance": {"type": "range", "range": arguments.pop("range")}} if "range" in arguments else {}
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {"type": kind, "name": func, "provider": provider, **pauses, **tolerance}


HANG = activity("action", ACTIONS, "process_hang", pause=20)
UNDO = activity("action", ACTIONS, "undo")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A sandbox with two engines, in a state folder of its own."""
    folder = tmp_path_factory.mktemp("home")
    with own_sandbox(folder, "default", replicas=2):
        yield folder


def stopped(home: Path) -> set[str]:
    """Stopped processes of this sandbox, by pid: other sandboxes may be up on this machine."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if "\nState:\tT" in (process / "status").read_text() and belongs(process, home):
                found.add(process.name)
        except OSError:
            continue
    return found


def belongs(process: Path, home: Path) -> bool:
    """Whether it, or any process that it descends from, was started with this state folder."""
    while process.name not in ("0", "1"):
        if str(home).encode() in (process / "environ").read_bytes() + (process / "cmdline").read_bytes():
            return True
        status = (process / "status").read_text()
        process = process.parent / status.partition("PPid:")[2].split()[0]
    return False


def start(runner, data, folder, home):
    path = folder / "x.json"
    path.write_text(json.dumps({"title": "T", "description": "D", **data}))
    env = os.environ | {"DRILLBOOK_HOME": str(home), "PYTHONPATH": str(side_by_side.ROOT)}
    command = [str(side_by_side.CHAOS), "--no-version-check", "run", str(path)]
    if runner == "drillbook":
        trust_file(path)
        command = [sys.executable, "-m", "drillbook", "run", str(path), "--runs", str(folder / "runs")]
    with (folder / "output").open("wb") as output:
        return subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output)


def until(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


RUNNERS = ["drillbook", pytest.param("chaos", marks=pytest.mark.chaostoolkit)]


ENDS = [
    ("drillbook", signal.SIGKILL),
    *(pytest.param("chaos", each, marks=pytest.mark.chaostoolkit) for each in (signal.SIGINT, signal.SIGKILL)),
]


@pytest.mark.root
@pytest.mark.parametrize(("runner", "number"), ENDS)
def test_a_hang_ends_with_the_process_that_made_it_also_where_no_rollback_is_played(runner, number, home, tmp_path):
    before = stopped(home)
    process = start(runner, {"method": [HANG], "rollbacks": [UNDO]}, tmp_path, home)
    hung = until(lambda: stopped(home) - before)
    process.send_signal(number)
    until(lambda: not hung & stopped(home), 60)
    process.wait(60)


@pytest.mark.root
@pytest.mark.parametrize("runner", RUNNERS)
def test_probes_measure_real_requests_and_a_killed_pod_is_seen_to_come_back(runner, home, tmp_path):
    steady = [
        activity("probe", PROBES, "goodput", seconds=3, range=[0.95, 1]),
        activity("probe", PROBES, "ready_engines", seconds=1, range=[2, 2]),
    ]
    method = [
        activity("action", ACTIONS, "start_load"),
        activity("action", ACTIONS, "pod_kill", force=True),
        activity("probe", PROBES, "recovered", timeout=60, range=[0, 60]),
    ]
    data = {
        "steady-state-hypothesis": {"title": "Users are served", "probes": steady},
        "method": method,
        "rollbacks": [UNDO],
        "configuration": {"drillbook_rate": "6/s", "drillbook_stall_timeout": "3s", "drillbook_output_tokens": "8"},
    }
    process = start(runner, data, tmp_path, home)
    assert process.wait(120) == 0, (tmp_path / "output").read_text()
    path = next((tmp_path / "runs").glob("x/2*/journal.json")) if runner == "drillbook" else tmp_path / "journal.json"
    killed, recovered = json.loads(path.read_text())["run"][1:]
    assert "delete 1 of 2 engine pods" in killed["output"]["did"]
    assert 0 <= recovered["output"] < 60


@pytest.mark.root
def test_a_fault_that_would_leave_no_engine_is_refused(home, tmp_path):
    method = [activity("action", ACTIONS, "pod_kill", count=2)]
    process = start("drillbook", {"method": method}, tmp_path, home)
    assert process.wait(60) == 3
    assert "the blast radius is too large" in (tmp_path / "output").read_text()


def exported(name, **changes):
    """What ``export`` writes, with impatient users."""
    data, _ = export(load(catalog.find("experiments", name)))
    for key, value in {"rate": "6/s", "stall_timeout": "3s", "output_tokens": "8"}.items():
        data["configuration"][f"drillbook_{key}"] = value
    for item in data["method"]:
        if item["name"] in changes:
            item["provider"]["arguments"] |= changes[item["name"]]
        if item["name"] == "undo process-hang":
            item["pauses"] = {"before": 8.0}
    return data


EXITS = {
    "drillbook": {"held": 0, "refuted": 1, "inconclusive": 3},
    "chaos": {"held": 0, "refuted": 1, "inconclusive": 1},
}


@pytest.mark.root
@pytest.mark.parametrize("runner", [pytest.param(each, marks=pytest.mark.chaostoolkit) for each in EXITS])
@pytest.mark.parametrize(
    ("name", "changes", "verdict", "missed"),
    [
        ("pod-kill", {}, "held", None),
        ("engine-hang", {}, "refuted", "green-while-broken < 5s"),
        ("pod-kill", {"pod-kill": {"count": 2}}, "inconclusive", "recovered within 90s of inject"),
    ],
    ids=["a killed pod", "a hang that is seen by nobody", "a fault that is refused"],
)
def test_what_is_expected_of_an_exported_drill_decides_in_either_hands(
    runner, name, changes, verdict, missed, home, tmp_path
):
    process = start(runner, exported(name, **changes), tmp_path, home)
    assert process.wait(120) == EXITS[runner][verdict], (tmp_path / "output").read_text()
    path = next((tmp_path / "runs").glob("x/2*/journal.json")) if runner == "drillbook" else tmp_path / "journal.json"
    states = json.loads(path.read_text())["steady_states"]
    assert states["before"]["steady_state_met"]
    found = [probe["activity"]["name"] for probe in states["after"]["probes"] if not probe["tolerance_met"]]
    assert found[:1] == ([missed] if missed else [])
