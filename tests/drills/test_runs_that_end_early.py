"""Runs that do not go to their end: told to stop, broken themselves, killed. All is put back, as seen in /proc."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys

import pytest
from drill_bench import HANG, LOAD, child, children, is_alive, kill, until

from drillbook.experiments import check, journal, run
from drillbook.model.events import EvidenceKept, FaultChanged, FaultState, Noted
from drillbook.model.verdict import RunStatus, UndoState, Verdict
from drillbook.probes.collectors import Observers
from drillbook.sandbox import lifecycle

pytestmark = pytest.mark.root
SHORT = {"baseline": "1s", "load": LOAD | {"rate": "20/s"}}


def hung(bench, *words, program=None, **changes):
    """A run that holds a hang, and the processes that it started."""
    options = {"program": program} if program else {}
    running = bench.start(bench.experiment(HANG, **(SHORT | changes)), *words, **options)
    running.fault_is("bit")
    assert bench.stopped() == 1
    return running


@pytest.mark.parametrize(
    "number",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.whole),
        pytest.param(signal.SIGHUP, id="SIGHUP", marks=pytest.mark.whole),
    ],
)
def test_a_signal_ends_the_run_after_everything_was_put_back(bench, number):
    running = hung(bench)
    watchdog = child(running.process.pid, "drillbook.undo.watchdog")
    generator = child(running.process.pid, "drillbook.load.worker")
    for _ in range(3):  # impatience changes nothing
        running.process.send_signal(number)
    code, out, err = running.end()
    assert code == 130, out + err
    assert bench.stopped() == 0
    assert bench.records() == []
    assert not bench.holder()
    assert not is_alive(watchdog)
    assert not is_alive(generator)
    assert "run interrupted, undo clean" in out
    assert (running.folder / "report.html").is_file()


@pytest.mark.whole
def test_a_signal_before_the_first_fault_leaves_nothing_behind(bench):
    running = bench.start(bench.experiment(HANG))
    until(lambda: bench.holder(), 60)
    running.process.send_signal(signal.SIGINT)
    code, _, err = running.end()
    assert code == 130, err
    assert "Traceback" not in err
    assert bench.records() == []
    assert not bench.holder()


@pytest.mark.whole
def test_a_tripped_abort_condition_ends_the_run_and_refutes(bench):
    code, out, err, folder = bench.run(
        bench.experiment(HANG | {"count": 2}, abort_when=["goodput < 99% for 1s"], **SHORT)
    )
    assert code == 1, out + err
    assert bench.stopped() == 0
    assert "ABORT: goodput < 99% for 1s" in err
    assert "REFUTED  aborted at" in out
    assert "run aborted, undo clean" in out
    assert bench.shell("check", folder).returncode == 1


def test_of_a_killed_runner_the_watchdog_undoes(bench):
    running = hung(bench)
    generator = child(running.process.pid, "drillbook.load.worker")
    running.kill()
    until(lambda: not bench.stopped(), 60)
    until(lambda: not is_alive(generator), 60)
    until(lambda: "undone" in (running.folder / "undo.json").read_text(), 60)
    judged = json.loads(bench.shell("check", running.folder, "--json").stdout)
    assert (judged["status"], judged["undo"], judged["verdict"]) == ("crashed", "clean", "inconclusive")
    assert bench.shell("report", running.folder).returncode == 0


@pytest.mark.whole
def test_of_a_killed_runner_and_watchdog_recover_undoes(bench):
    running = hung(bench)
    kill(child(running.process.pid, "drillbook.undo.watchdog"))
    running.kill()
    listed = bench.here("recover", "--list", "--runs", bench.runs)
    assert listed.returncode == 5, listed.stderr
    assert "1 of 1 fault(s) to be undone" in listed.stdout
    assert bench.stopped() == 1
    told = bench.here("recover", "--runs", bench.runs)
    assert told.returncode == 0, told.stdout + told.stderr
    assert bench.stopped() == 0
    assert "0-process-hang undone: 1 process(es)" in told.stdout
    assert bench.records() == []


@pytest.mark.whole
def test_a_fault_that_is_refused_at_the_last_moment_is_inconclusive(bench):
    running = bench.start(bench.experiment(HANG, **SHORT, observe="1s"))
    running.reaches("baseline")
    with bench.denied(verbs=["get", "create"], resources=["pods/exec"]):
        running.fault_is("refused")
    code, out, err = running.end()
    assert code == 3, out + err
    assert "INCONCLUSIVE  the target refused the fault: exec in" in out
    assert "undo nothing-to-undo" in out
    assert bench.stopped() == 0


def test_a_generator_that_dies_ends_the_run_undone_and_inconclusive(bench):
    running = hung(bench)
    kill(child(running.process.pid, "drillbook.load.worker"))
    code, out, err = running.end()
    assert code == 3, out + err
    assert bench.stopped() == 0
    assert "the load generator 'load' cannot go on: it died: killed by SIGKILL" in err
    assert "run aborted, undo clean" in out


def test_a_watchdog_that_dies_before_the_fault_keeps_it_from_being_injected(bench):
    running = bench.start(bench.experiment(HANG, **SHORT, observe="1s"))
    running.reaches("baseline")
    kill(child(running.process.pid, "drillbook.undo.watchdog"))
    code, out, err = running.end()
    assert code == 3, out + err
    assert "the watchdog has died; nothing is injected without it" in out
    assert bench.stopped() == 0


class Broken:
    """A sink with a bug."""

    def handle(self, line) -> None:
        raise ZeroDivisionError("a bug in a sink")


async def test_a_bug_in_an_instrument_a_sink_or_the_run_itself_does_not_skip_the_undo(bench, monkeypatch):
    async def broken(*_):
        async def instrument():
            raise KeyError("a bug in an instrument")

        return Observers([instrument], lambda: asyncio.sleep(0))

    def tripped(history, condition, now):
        if any(event.state is FaultState.BIT for _, event in history.events(FaultChanged)):
            assert bench.stopped() == 1
            raise ZeroDivisionError("a bug in the run")
        return ""

    monkeypatch.setattr("drillbook.experiments.drill.observers", broken)
    monkeypatch.setattr(run, "tripped", tripped)
    experiment = bench.experiment(HANG, abort_when=["goodput < 1% for 9s"], **SHORT)
    folder = await bench.drill(experiment, sinks=(Broken(),))
    assert bench.stopped() == 0
    assert bench.records() == []
    history = journal.read(folder)
    judgement = check.judge(history)
    assert (judgement.status, judgement.undo) == (RunStatus.CRASHED, UndoState.CLEAN)
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert int(judgement.exit_code) == 70
    notes = [event.text for _, event in history.events(Noted)]
    assert "Broken looks on no more: ZeroDivisionError: a bug in a sink" in notes
    assert "an instrument failed: KeyError: 'a bug in an instrument'" in notes
    (kept,) = {event.path for _, event in history.events(EvidenceKept) if "traceback" in event.path}
    text = (folder / kept).read_text()
    assert text.count("Traceback (most recent call last)") == 3
    assert "a bug in the run" in text


async def test_a_cancelled_drill_undoes_first(bench):
    """As a time-out around it would, or a test that ends."""
    task = asyncio.create_task(bench.drill(bench.experiment(HANG, **SHORT)))
    async with asyncio.timeout(180):
        while not await asyncio.to_thread(bench.stopped):
            await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    folder = await task
    assert bench.stopped() == 0
    assert check.judge(journal.read(folder)).status is RunStatus.INTERRUPTED


IMPATIENT = """
import sys
from drillbook.experiments import injection
injection.UNDO_SECONDS = injection.VERIFY_SECONDS = 0.5
from drillbook.cli.main import main
main(sys.argv[1:])
"""


@pytest.mark.whole
def test_an_undo_that_fails_exits_5_and_the_watchdog_goes_on_until_it_is_done(bench):
    """The API server is gone when the run is told to end, and for good as far as the runner can see."""
    (bench.folder / "impatient.py").write_text(IMPATIENT)
    running = hung(bench, program=(sys.executable, str(bench.folder / "impatient.py")))
    watchdog = child(running.process.pid, "drillbook.undo.watchdog")
    asyncio.run(lifecycle.control_down(bench.sandbox.name))
    try:
        running.process.send_signal(signal.SIGINT)
        code, out, err = running.end()
        assert code == 5, out + err
        assert "SOMETHING MAY BE LEFT" in out
        assert f"drillbook recover --sandbox {bench.sandbox.name}" in out
        assert bench.stopped() == 1
        assert is_alive(watchdog)
        told = bench.here("recover", "--runs", bench.runs)
        assert told.returncode == 5, told.stdout
        assert "whether anything is left cannot be seen" in told.stderr
        assert bench.shell("check", running.folder).returncode == 5
    finally:
        asyncio.run(lifecycle.control_up(bench.sandbox.name))
        bench.renew_router()
    until(lambda: not bench.stopped(), 60)
    until(lambda: bench.shell("check", running.folder).returncode == 130, 60)
    assert os.getpid() not in children(watchdog)
