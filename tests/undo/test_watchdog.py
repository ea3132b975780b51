"""The watchdog as a process, over a runner as a process, both against a real control plane."""

from __future__ import annotations

import asyncio
import os
import signal

import control_plane as planes
import msgspec
import pytest
from doomed import Runner

from drillbook import clock
from drillbook.model.events import FaultChanged, FaultState, Line, Noted
from drillbook.model.experiment import TargetSpec
from drillbook.targets.answers import UnavailableError
from drillbook.targets.kube import Kube
from drillbook.targets.stack import stack_named
from drillbook.targets.target import Target
from drillbook.undo import folder as folders
from drillbook.undo import lease, recover
from drillbook.undo.patience import GONE_SECONDS, TRYING_SECONDS, Patience
from drillbook.undo.record import find_records


@pytest.mark.figure
async def test_a_killed_runner_s_fault_is_undone_within_two_seconds(runner, shared_plane):
    await runner.start(shared_plane)
    await runner.kill()
    assert await runner.undone() < 2.0


async def test_a_killed_runner_s_fault_is_undone(runner, shared_plane, kube, namespace):
    await runner.start(shared_plane)
    await runner.kill()
    await runner.undone()
    await runner.watchdog_left()
    assert await find_records(kube, [namespace]) == []
    assert folders.read(runner.folder).remaining == ()
    assert await lease.read_version(kube, namespace, "run-1") == ""
    events = runner.events()
    assert (
        FaultChanged(id="0-first", state=FaultState.UNDONE, detail="configmap/victim: 1 field(s) are as before")
        in events
    )
    assert any(isinstance(event, Noted) and "runner is gone" in event.text for event in events)


async def test_the_watchdog_outlives_a_closing_terminal(runner, shared_plane):
    await runner.start(shared_plane)
    assert os.getsid(runner.watchdog) == runner.watchdog != os.getsid(runner.process.pid)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(runner.watchdog, number)
    await runner.kill()
    await runner.undone()


async def test_a_runner_that_lives_and_says_goodbye_is_left_alone(runner, shared_plane):
    await runner.start(shared_plane, heartbeat=1.5)
    await asyncio.sleep(2.5)  # longer than the heartbeat: it is the renewals that count
    assert await runner.field() == "new"
    runner.say("goodbye")
    async with asyncio.timeout(60):
        assert await runner.process.wait() == 0
    await runner.watchdog_left()
    assert await runner.field() == "new"


async def test_a_runner_that_hangs_is_undone_and_cannot_inject_when_it_wakes_up(runner, shared_plane):
    await runner.start(shared_plane, heartbeat=1.5)
    os.kill(runner.process.pid, signal.SIGSTOP)
    await runner.undone()
    os.kill(runner.process.pid, signal.SIGCONT)
    runner.say("again")
    assert (await runner.hear()).startswith("fenced")
    assert await runner.field() == "old"
    await runner.kill()
    await runner.watchdog_left()


async def test_a_request_that_lands_after_the_undo_is_undone_too(runner, shared_plane, kube):
    await runner.start(shared_plane, settle=1.0)
    await runner.kill()
    await runner.undone()
    await kube.patch(runner.place, {"data": {"field": "new"}})  # accepted before the runner's death, carried out late
    await runner.undone()
    await runner.watchdog_left()


async def test_a_new_run_waits_until_the_dead_one_s_late_requests_must_have_landed(
    runner, shared_plane, kube, namespace
):
    await runner.start(shared_plane, settle=3.0)
    died = clock.monotonic()
    await runner.kill()
    told = []
    await runner.undone()
    held = await lease.acquire(kube, namespace, "run-2", on_wait=told.append)
    assert clock.monotonic() - died > 2.9
    assert "run-1" in told[0]
    await kube.patch(runner.place, {"data": {"field": "new"}})  # the new run breaks what the dead one broke
    await runner.watchdog_left()
    assert await runner.field() == "new"
    await held.release()


async def test_the_watchdog_of_a_dead_run_leaves_alone_what_another_run_breaks(runner, shared_plane, kube, namespace):
    await runner.start(shared_plane, heartbeat=1.5, settle=0.2)
    os.kill(runner.process.pid, signal.SIGSTOP)
    await runner.undone()
    held = await lease.acquire(kube, namespace, "run-2")
    await kube.patch(runner.place, {"data": {"field": "new"}})
    await runner.kill()
    await runner.watchdog_left()
    assert await runner.field() == "new"
    await held.release()


async def test_what_somebody_else_changed_meanwhile_is_superseded(runner, shared_plane, kube):
    await runner.start(shared_plane)
    await kube.patch(runner.place, {"data": {"field": "theirs"}})
    await runner.kill()
    await runner.watchdog_left()
    assert await runner.field() == "theirs"
    assert any(isinstance(event, FaultChanged) and event.state is FaultState.SUPERSEDED for event in runner.events())


async def test_with_the_run_folder_lost_the_target_s_record_is_enough(runner, shared_plane):
    await runner.start(shared_plane)
    for path in runner.folder.iterdir():
        path.unlink()
    runner.folder.rmdir()
    await runner.kill()
    await runner.undone()
    await runner.watchdog_left()
    runner.folder.mkdir()


async def test_an_api_server_that_is_away_delays_the_undo_and_no_more(own_plane, tmp_path):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await planes.make_namespace(kube)
        runner = Runner(kube, planes.NAMESPACE, tmp_path)
        await runner.start(own_plane)
        await asyncio.to_thread(own_plane.kill)
        await runner.kill()
        await asyncio.sleep(1.0)
        await asyncio.to_thread(own_plane.start)
        await runner.undone()
        await runner.watchdog_left()


async def test_a_target_that_was_removed_is_given_up_and_the_run_folder_keeps_the_record(own_plane, tmp_path):
    """As ``drillbook sandbox down`` removes one: its processes and its kubeconfig."""
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await planes.make_namespace(kube)
        runner = Runner(kube, planes.NAMESPACE, tmp_path)
        await runner.start(own_plane)
        await asyncio.to_thread(own_plane.kill)
        own_plane.kubeconfig.unlink()
        await runner.kill()
        await runner.watchdog_left()
    assert len(folders.read(tmp_path).remaining) == 1
    given_up = runner.events()[-1]
    assert isinstance(given_up, Noted)
    assert "the target is gone" in given_up.text
    assert "drillbook recover" in given_up.text


async def test_without_any_record_left_there_is_nothing_to_wait_for(runner, shared_plane, kube, namespace):
    await runner.start(shared_plane)
    (record,) = await find_records(kube, [namespace])
    await kube.delete(record.store.path)
    (runner.folder / folders.NAME).unlink()
    await runner.kill()
    await runner.watchdog_left()
    assert any(isinstance(event, Noted) and "record of what to undo" in event.text for event in runner.events())


class TestPatience:
    async def test_an_api_server_that_is_away_is_waited_for_an_hour(self, kube, shared_plane, monkeypatch):
        now = clock.monotonic()
        monkeypatch.setattr(clock, "monotonic", lambda: now)
        away = UnavailableError("away")
        patience = Patience(kube, str(shared_plane.kubeconfig), "test")
        now += TRYING_SECONDS - 1
        assert await patience.ended(away) == ""
        assert await patience.ended(None) == ""
        now += 2
        assert "60 minutes" in await patience.ended(away)
        assert "60 minutes" in await patience.ended(None)
        patience.renewed()
        assert await patience.ended(away) == ""

    async def test_a_kubeconfig_that_leads_elsewhere_by_now_ends_it(self, kube, shared_plane, tmp_path, monkeypatch):
        now = clock.monotonic()
        monkeypatch.setattr(clock, "monotonic", lambda: now)
        moved = tmp_path / "kubeconfig"
        text = shared_plane.kubeconfig.read_text()
        moved.write_text(text.replace(shared_plane.url, "http://127.0.0.1:1"))
        patience = Patience(kube, str(moved), "test")
        assert await patience.ended(UnavailableError("away")) == ""
        now += GONE_SECONDS + 1
        assert "does not lead to it" in await patience.ended(UnavailableError("away"))
        moved.write_text(text)
        assert await patience.ended(UnavailableError("away")) == ""


async def test_a_runner_and_an_api_server_that_both_hang_are_told_apart(own_plane, tmp_path):
    """While the API server does not answer, a Lease that is not renewed proves nothing against the runner."""
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await planes.make_namespace(kube)
        runner = Runner(kube, planes.NAMESPACE, tmp_path)
        await runner.start(own_plane, heartbeat=1.5)
        await asyncio.to_thread(own_plane.kill)
        await asyncio.sleep(2.5)
        await asyncio.to_thread(own_plane.start)
        await asyncio.sleep(1.0)
        assert await runner.field() == "new"
        await runner.kill()
        await runner.undone()
        await runner.watchdog_left()


def target_of(kube: Kube, namespace: str) -> Target:
    return Target(kube, TargetSpec(namespace=namespace), namespace, stack_named("other"))


async def test_two_recovers_and_the_watchdog_at_once_agree(runner, shared_plane, kube, namespace, tmp_path):
    await runner.start(shared_plane)
    target = target_of(kube, namespace)
    found = await recover.find(target, tmp_path)
    assert [(each.run_id, each.remains) for each in found] == [("run-1", True)]
    await runner.kill()
    results = await asyncio.gather(recover.recover(target, found), recover.recover(target, found))
    assert [each.remains for result in results for each in result] == [False, False]
    assert await runner.field() == "old"
    await runner.watchdog_left()
    assert await recover.find(target, tmp_path) == []


async def test_recover_leaves_a_run_that_is_alive_alone_unless_forced(runner, shared_plane, kube, namespace, tmp_path):
    await runner.start(shared_plane, heartbeat=2.0)
    target = target_of(kube, namespace)
    found = await recover.find(target, tmp_path)
    (left,) = await recover.recover(target, found)
    assert left.remains
    assert "is running" in left.summary
    assert await runner.field() == "new"
    (forced,) = await recover.recover(target, found, force=True)
    assert not forced.remains
    assert await runner.field() == "old"
    runner.say("again")
    assert (await runner.hear()).startswith("fenced")


async def test_recover_mends_from_the_run_folder_what_the_target_forgot_and_only_there(
    runner, shared_plane, kube, namespace, tmp_path
):
    runner.folder = tmp_path / "runs" / "experiment" / "time"
    runner.folder.mkdir(parents=True)
    await runner.start(shared_plane)
    os.kill(runner.watchdog, signal.SIGKILL)
    await runner.kill()
    (record,) = await find_records(kube, [namespace])
    await kube.delete(record.store.path)
    other = target_of(kube, "default")
    assert await recover.find(other, tmp_path / "runs") == []
    target = target_of(kube, namespace)
    found = await recover.find(target, tmp_path / "runs")
    assert [each.remains for each in found] == [True]
    assert "run folder" in found[0].summary
    (done,) = await recover.recover(target, found)
    assert not done.remains
    assert await runner.field() == "old"
    (log,) = runner.folder.glob("undo-recover-*.jsonl")
    assert FaultState.UNDONE in [
        msgspec.json.decode(row, type=Line).event.state for row in log.read_bytes().splitlines()
    ]
    assert await recover.find(target, tmp_path / "runs") == []
