"""The plugin as a pipeline uses it: a pytest of its own over experiment files, with real drills in a sandbox."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

KILL = """
title: One engine is killed
target: {{stack: production-stack}}
load: {{rate: 8/s, output-tokens: 8}}
baseline: 3s
observe: 30s
settle: 1s
steady-state: [goodput >= 50%]
method:
  - {{at: 0s, fault: pod-kill, role: engine, count: 1, grace: 0s}}
expect:
  - {expectation}
"""


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def test_without_an_option_no_yaml_is_collected(folder: Path) -> None:
    (folder / "kill.yaml").write_text(KILL.format(expectation="recovered within 30s of inject"))
    assert pytest_in(folder).returncode == 5, "pytest's exit for no tests"


def test_experiments_are_validated_where_no_target_is_said(folder: Path) -> None:
    (folder / "good.yaml").write_text(KILL.format(expectation="recovered within 30s of inject"))
    (folder / "bad.yaml").write_text(KILL.format(expectation="goodputt >= 5%"))
    (folder / "values.yaml").write_text("replicas: 3\n")
    done = pytest_in(folder, "--drill-validate")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout, done.stdout
    assert "no probe is called 'goodputt'" in done.stdout
    assert "Traceback" not in done.stdout


def test_a_target_that_is_not_there_fails_with_its_reason(folder: Path) -> None:
    (folder / "kill.yaml").write_text(KILL.format(expectation="recovered within 30s of inject"))
    (folder / "none.kubeconfig").write_text("apiVersion: v1\nkind: Config\nclusters: []\ncontexts: []\nusers: []\n")
    done = pytest_in(folder, "--drill-kubeconfig=none.kubeconfig", "--drill-context=nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stdout, done.stdout
    assert "Traceback" not in done.stdout


def test_a_python_test_without_a_target_is_skipped(folder: Path) -> None:
    (folder / "test_mine.py").write_text("def test_mine(drill):\n    assert drill('pod-kill').verdict == 'held'\n")
    done = pytest_in(folder)
    assert done.returncode == 0
    assert "no target to drill" in done.stdout


@pytest.mark.root
@pytest.mark.whole
def test_held_passes_and_refuted_fails_with_its_findings(folder: Path) -> None:
    (folder / "bad.yaml").write_text(KILL.format(expectation="goodput <= 1%"))
    (folder / "test_mine.py").write_text(
        "def test_mine(drill):\n"
        "    drilled = drill('bad.yaml')\n"
        "    assert drilled.exit_code == 1\n"
        "    assert drilled.verdict == 'refuted'\n"
        "    assert (drilled.folder / 'journal.jsonl').exists()\n"
        "    (tmp := drilled.folder).joinpath('seen').touch()\n"
    )
    (folder / "good.yaml").write_text(KILL.format(expectation="recovered within 30s of inject"))
    up = [sys.executable, "-m", "drillbook", "sandbox"]
    subprocess.run([*up, "up", "--name", "pytest"], check=True, capture_output=True)
    try:
        done = pytest_in(folder, "--drill-sandbox", "--junit-xml=junit.xml")
    finally:
        subprocess.run([*up, "down", "--name", "pytest"], check=True, capture_output=True)
    assert "1 failed, 2 passed" in done.stdout, done.stdout
    assert "goodput <= 1%" in done.stdout
    assert "report.html" in done.stdout
    assert 'name="verdict" value="held"' in (folder / "junit.xml").read_text()


@pytest.mark.root
@pytest.mark.whole
def test_an_interrupted_session_waits_for_the_undo(folder: Path) -> None:
    (folder / "hang.yaml").write_text(
        KILL.format(expectation="recovered within 30s of inject").replace(
            "{at: 0s, fault: pod-kill, role: engine, count: 1, grace: 0s}",
            '{at: 0s, fault: process-hang, role: engine, count: 1, process: "VLLM::EngineCore"}',
        )
    )
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--drill-sandbox"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 120
        while not any(folder.glob("runs/hang/*/journal.jsonl")) or "fault-changed" not in _journal(folder):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < until
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
    last = json.loads(_journal(folder).splitlines()[-1])["event"]
    assert last["type"] == "run-ended"
    assert last["undo"] == "clean"


def _journal(folder: Path) -> str:
    return next(folder.glob("runs/hang/2*/journal.jsonl")).read_text()
