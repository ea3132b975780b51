"""Whole runs while the world fails under them: what becomes of the fault, the status, the verdict and the exit code."""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest
from drill_bench import HANG, child, is_alive, kill, until
from faulty_proxy import Answer, Delay

pytestmark = pytest.mark.root
HELD_HANG = HANG | {"for": "20s"}


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
    until(lambda: bench.stopped() == 0, 15)
    until(lambda: bench.records() == [], 20)
    assert judged(bench, running.folder)["undo"] == "clean"


def test_a_slow_api_server_whose_watches_are_closed_spoils_nothing(bench):
    bench.proxy.fault = lambda method, path: Delay(0.3) if method != "GET" and "exec" not in path else None
    running = bench.start_through(bench.experiment(HANG | {"for": "2s"}, observe="5s"))
    running.reaches("baseline")
    while running.process.poll() is None:
        bench.proxy.close_watches()
        time.sleep(0.5)
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
    until(lambda: victim not in [pod["metadata"]["name"] for pod in bench.engines()], 10)
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


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM], ids=["killed, as by the OOM killer", "told to end"]
)
def test_a_generator_that_dies_ends_the_run_and_proves_nothing(bench, number):
    running = bench.start(bench.experiment(HELD_HANG))
    running.fault_is("bit")
    os.kill(child(running.process.pid, "drillbook.load.worker"), number)
    until(lambda: bench.stopped() == 0, 10)
    code, out, err = running.end()
    assert code == 3, out + err
    assert (judged(bench, running.folder)["status"], judged(bench, running.folder)["verdict"]) == (
        "aborted",
        "inconclusive",
    )
    assert bench.records() == []


def test_a_runner_that_sleeps_past_its_lease_is_undone_and_says_so_when_it_wakes(bench):
    running = bench.start(bench.experiment(HELD_HANG))
    running.fault_is("bit")
    running.process.send_signal(signal.SIGSTOP)
    until(lambda: bench.stopped() == 0, 15)
    running.process.send_signal(signal.SIGCONT)
    code, out, err = running.end()
    assert code == 130, out + err
    assert "Lease" in out + err + (running.folder / "journal.jsonl").read_text()
    assert bench.stopped() == 0


def test_a_killed_watchdog_lets_nothing_more_be_injected(bench):
    running = bench.start(bench.experiment(HANG | {"at": "1s", "for": "2s"}, observe="3s"))
    running.reaches("baseline")
    watchdog = child(running.process.pid, "drillbook.undo.watchdog")
    kill(watchdog)
    until(lambda: not is_alive(watchdog), 5)
    code, out, err = running.end()
    assert code == 3, out + err
    assert "watchdog has died" in out + err
    assert bench.stopped() == 0
    until(lambda: bench.records() == [], 5)
