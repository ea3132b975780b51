"""The two programs as processes: how they are told what to do, and who judges."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drillbook.errors import UnreachableError
from drillbook.sandbox.guardrail import settings
from drillbook.sandbox.guardrail.classifier import TITLE
from drillbook.sandbox.kube import fetch

PROGRAM = "import sys; from drillbook.sandbox.guardrail.main import classifier; sys.exit(classifier(sys.argv[1:]))"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(happened, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.02)


class Started:
    def __init__(self) -> None:
        port = free_port()
        words = ["--host=127.0.0.1", f"--port={port}"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *words], env={**os.environ, "GUARDRAIL_LOAD": "0.2"}
        )
        self.url = f"http://127.0.0.1:{port}/health"

    def well(self) -> bool:
        try:
            return fetch(self.url, timeout=0.5)[0] == 200
        except UnreachableError:
            return False

    @property
    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return next(int(pid) for pid in children if Path(f"/proc/{pid}/cmdline").read_text().startswith(TITLE))


@pytest.fixture
def started() -> Iterator[Started]:
    if sys.platform != "linux":
        pytest.skip("processes have titles on Linux")
    one = Started()
    until(one.well)
    yield one
    one.process.kill()
    one.process.wait()


def test_the_classifier_judges_in_a_process_of_its_own_that_can_hang_and_go_on(started: Started):
    os.kill(started.worker, signal.SIGSTOP)
    until(lambda: not started.well())
    assert started.process.poll() is None
    os.kill(started.worker, signal.SIGCONT)
    until(started.well)


def test_a_classifier_whose_worker_was_killed_ends(started: Started):
    os.kill(started.worker, signal.SIGKILL)
    assert started.process.wait(30) == 1


def test_a_classifier_that_hangs_still_ends_when_told_to(started: Started):
    worker = started.worker
    os.kill(worker, signal.SIGSTOP)
    started.process.terminate()
    assert started.process.wait(30) == 0
    assert not Path(f"/proc/{worker}").exists()


def test_a_classifier_that_is_killed_leaves_nothing_behind(started: Started):
    worker = started.worker
    started.process.kill()
    started.process.wait()
    until(lambda: not Path(f"/proc/{worker}").exists())


def test_a_flag_wins_over_the_environment_and_that_over_the_default():
    given = ["--upstream=http://u", "--classifier=http://c"]
    assert settings.gateway(given, {}).on_error == "block"
    assert settings.gateway(given, {"GUARDRAIL_ON_ERROR": "allow"}).on_error == "allow"
    assert settings.gateway([*given, "--on-error=block"], {"GUARDRAIL_ON_ERROR": "allow"}).on_error == "block"


@pytest.mark.parametrize("environment", [{"GUARDRAIL_ON_ERROR": "maybe"}, {"GUARDRAIL_CHECK_TIMEOUT": "soon"}])
def test_a_wrong_setting_ends_the_program_with_what_is_allowed(environment: dict[str, str], capsys):
    with pytest.raises(SystemExit) as ended:
        settings.gateway(["--upstream=http://u", "--classifier=http://c"], environment)
    assert ended.value.code == 2
    assert "--" in capsys.readouterr().err
