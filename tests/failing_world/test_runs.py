"""Whole runs while the world fails under them: what becomes of the fault, the status, the verdict and the exit code."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator

import pytest
from drill_bench import DRILLBOOK, HANG, Running, until
from faulty_proxy import Answer, Delay

pytestmark = pytest.mark.root
HELD_HANG = HANG | {"for": "12s"}


def nothing(_method: str, _path: str) -> None:
    return None


def judged(bench, folder) -> dict:
    return json.loads(bench.shell("check", folder, "--json").stdout)


def test_the_undo_outlasts_an_api_server_that_fails_for_seconds(bench):
    running = bench.start_through(bench.experiment(HELD_HANG))
    running.fault_is("bit")
    bench.proxy.fault = lambda _method, _path: Answer(500)
    recovers = threading.Timer(3.0, lambda: setattr(bench.proxy, "fault", nothing))
    recovers.start()
    running.process.send_signal(signal.SIGINT)
    code, out, err = running.end()
    recovers.join()
    assert bench.stopped() == 0
    assert code == 130, err
    assert "undo clean" in out
    assert len(bench.proxy.refused) > 2
    assert bench.records() == []


def test_an_expired_token_leaves_5_and_the_watchdog_undoes_once_it_is_renewed(bench):
    running = bench.start_through(bench.experiment(HELD_HANG), token="tok-1")
    running.fault_is("bit")
    bench.proxy.fault = lambda _method, _path: Answer(401)
    running.process.send_signal(signal.SIGTERM)
    code, out, err = running.end(90)
    assert code == 5, out + err
    assert "drillbook recover" in out + err
    assert bench.stopped() == 1
    assert judged(bench, running.folder)["undo"] == "remains"
    bench.proxy.fault = nothing
    until(lambda: bench.stopped() == 0, 60)
    until(lambda: bench.records() == [], 60)
    assert judged(bench, running.folder)["undo"] == "clean"


def test_a_slow_api_server_whose_watches_are_closed_spoils_nothing(bench):
    bench.proxy.fault = lambda method, path: Delay(0.3) if method != "GET" and "exec" not in path else None
    running = bench.start_through(bench.experiment(HANG | {"for": "2s"}, observe="5s"))
    running.reaches("baseline")
    for _ in range(180):
        bench.proxy.close_watches()
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(0.5)
            break
    code, out, err = running.end()
    assert code == 0, out + err
    assert "run completed, undo clean" in out
    assert bench.stopped() == 0


def test_a_target_that_is_gone_before_the_run_is_4_and_leaves_no_folder(bench):
    bench.proxy.fault = lambda _method, _path: Answer(0)
    running = bench.start_through(bench.experiment(HANG))
    code, _, err = running.end()
    assert code == 4, err
    assert "does not answer" in err
    assert not list(bench.runs.glob("*/2*"))


def test_what_the_fault_broke_and_is_gone_by_the_undo_needs_none(bench):
    running = bench.start(bench.experiment(HELD_HANG))
    running.fault_is("bit")
    victim = next(
        ref["name"] for event in running.events("undo-recorded") for ref in [event["entry"]["operations"][0]["pod"]]
    )
    bench.call("DELETE", f"/api/v1/namespaces/llm/pods/{victim}", {"gracePeriodSeconds": 0})
    until(lambda: victim not in [pod["metadata"]["name"] for pod in bench.engines()], 60)
    running.process.send_signal(signal.SIGINT)
    code, out, err = running.end()
    assert code == 130, out + err
    assert "was replaced" in (running.folder / "journal.jsonl").read_text()
    assert (judged(bench, running.folder)["undo"], bench.stopped()) == ("clean", 0)


def test_a_run_is_judged_and_reported_long_after_its_target_is_gone(bench):
    code, out, err, folder = bench.run(bench.experiment({"fault": "pod-kill", "force": True}, observe="3s"))
    assert code == 0, out + err
    gone = {"KUBECONFIG": "/nowhere", "DRILLBOOK_HOME": str(bench.folder / "elsewhere"), "PATH": os.environ["PATH"]}
    again = bench.shell("check", folder, "--json", env=gone)
    assert (again.returncode, json.loads(again.stdout)["verdict"]) == (0, "held"), again.stderr
    assert bench.shell("report", folder, env=gone).returncode == 0


def test_a_runner_that_sleeps_past_its_lease_is_undone_and_says_so_when_it_wakes(bench):
    running = bench.start(bench.experiment(HELD_HANG))
    running.fault_is("bit")
    running.process.send_signal(signal.SIGSTOP)
    until(lambda: bench.stopped() == 0, 60)
    running.process.send_signal(signal.SIGCONT)
    code, out, err = running.end()
    assert code == 130, out + err
    assert "Lease" in out + err + (running.folder / "journal.jsonl").read_text()
    assert bench.stopped() == 0


def test_a_closed_terminal_ends_the_run_after_the_undo(bench):
    """The runner's terminal goes: SIGHUP, and whatever is written there from then on fails."""
    ours, theirs = os.openpty()
    experiment = bench.experiment(HELD_HANG)
    where = ("--sandbox", bench.sandbox.name, "--runs", str(bench.runs))
    command = ["setsid", "--ctty", *DRILLBOOK, "run", str(experiment), *where]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    running = Running(process, bench.runs)
    with _somebody_reads(ours):
        running.fault_is("bit")
    os.close(ours)
    assert process.wait(90) == 130
    assert bench.stopped() == 0
    assert bench.records() == []
    told = judged(bench, running.folder)
    assert (told["status"], told["undo"]) == ("interrupted", "clean")


@contextlib.contextmanager
def _somebody_reads(terminal: int) -> Iterator[None]:
    enough, told = os.pipe()

    def read() -> None:
        with contextlib.suppress(OSError):  # EIO: the runner has ended, which its exit code tells
            while enough not in select.select([terminal, enough], [], [])[0]:
                os.read(terminal, 1 << 16)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        os.close(told)
        reader.join()
        os.close(enough)


def test_a_disk_that_is_full_before_the_fault_breaks_nothing(bench, small_disk):
    bench.runs = small_disk(48)
    code, _, err = bench.start(bench.experiment(HANG)).end()
    assert code == 4, err
    assert "No space left" in err
    assert not list(bench.runs.glob("*/2*"))


def test_a_disk_that_becomes_full_ends_the_run_after_the_undo_and_its_end_is_written(bench, small_disk):
    bench.runs = small_disk(200)
    running = bench.start(bench.experiment(HELD_HANG))
    running.fault_is("bit")
    (bench.runs / "ballast").write_bytes(b"")
    with contextlib.suppress(OSError), (bench.runs / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    code, out, err = running.end()
    assert code == 70, out + err
    assert "No space left" in err
    assert bench.stopped() == 0
    (bench.runs / "ballast").unlink()
    told = judged(bench, running.folder)
    assert (told["verdict"], told["undo"]) == ("inconclusive", "clean")
    assert running.events("run-ended")
