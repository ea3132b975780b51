"""The drills against real vLLM on CPU: the same experiments, from the same manifests, as against `sim`."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.root]

START_SECONDS = 600
"""Two engines on two cores were seen to need 55 to 90 s; a busy CI machine takes its time."""


@pytest.fixture(scope="module")
def sandbox():
    python = os.environ["DRILLBOOK_VLLM_PYTHON"]
    _drillbook("sandbox", "up", "--name", "real", "--engine", "vllm", "--vllm-python", python, timeout=START_SECONDS)
    yield "real"
    _drillbook("sandbox", "down", "--name", "real", timeout=60)


def _drillbook(*arguments, timeout, codes=(0,)):
    command = [sys.executable, "-m", "drillbook", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode in codes, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _run(experiment, sandbox, runs):
    """A whole run: its judgement, and its report's facts. Held and refuted are both answers."""
    out = _drillbook("run", experiment, "--sandbox", sandbox, "--runs", str(runs), "--json", timeout=400, codes=(0, 1))
    (folder,) = [path for path in (runs / experiment).iterdir() if not path.is_symlink()]
    return json.loads(out), json.loads((folder / "report.json").read_text()), folder


def _bites(judgement):
    return [finding["verdict"] for finding in judgement["findings"] if finding["role"] == "bite"]


def test_a_killed_pod_of_real_vllm_is_replaced_and_its_recovery_is_split_into_legs(sandbox, tmp_path):
    judgement, _, folder = _run("pod-kill", sandbox, tmp_path)
    assert judgement["status"] == "completed"
    assert set(_bites(judgement)) == {"held"}
    recover = judgement["clocks"]["recover"]["at"]
    assert recover is not None
    legs = {leg["name"]: leg["end"] - leg["start"] for leg in judgement["clocks"]["recovery"] if leg["end"] is not None}
    assert legs["model loaded"] > 5, "real vLLM does not load a model in less"
    assert (folder / "playbook.md").read_text().count("simulated")


def test_a_hung_engine_of_real_vllm_stays_green_while_its_users_fail(sandbox, tmp_path):
    judgement, _, _ = _run("engine-hang", sandbox, tmp_path)
    assert judgement["undo"] == "clean"
    assert judgement["verdict"] == "refuted"
    green = sum(end - start for start, end in judgement["clocks"]["green_while_broken"])
    assert green > 5, "/health of a hung vLLM answers 200"
