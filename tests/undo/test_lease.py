from __future__ import annotations

import asyncio

import pytest

from drillbook import clock
from drillbook.errors import PreflightError
from drillbook.model.undo import DeleteObject, ObjectRef, UndoEntry
from drillbook.undo import lease
from drillbook.undo.record import FencedError, UndoStore

OPERATION = DeleteObject(
    object=ObjectRef(api_version="v1", kind="ConfigMap", plural="configmaps", namespace="llm", name="made", uid="u")
)
"""Something to undo; nothing here carries it out."""


@pytest.fixture(autouse=True)
def brisk(monkeypatch):
    """The same protocol, five times as fast."""
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(lease, "LOOK_SECONDS", 0.05)


async def die(held: lease.TargetLease) -> None:
    """End as a killed process does: nothing is released."""
    held._task.cancel()
    await asyncio.gather(held._task, return_exceptions=True)


async def test_the_second_run_on_a_target_is_refused_while_the_first_is_alive(kube, namespace):
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    with pytest.raises(PreflightError, match="run-1 is at work"):
        await lease.acquire(kube, namespace, "run-2", seconds=1)
    held.check()
    await held.release()
    second = await lease.acquire(kube, namespace, "run-2", seconds=1)
    await second.release()


async def test_of_many_that_want_it_at_once_exactly_one_gets_it(kube, namespace):
    answers = await asyncio.gather(
        *(lease.acquire(kube, namespace, f"run-{number}", seconds=1) for number in range(5)), return_exceptions=True
    )
    held = [answer for answer in answers if isinstance(answer, lease.TargetLease)]
    assert len(held) == 1
    assert all(isinstance(answer, PreflightError) for answer in answers if answer is not held[0])
    await held[0].release()


async def test_a_dead_run_that_left_nothing_gives_way_and_is_fenced(kube, namespace, tmp_path):
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    store.fence = held.check
    await die(held)
    waits: list[str] = []
    second = await lease.acquire(kube, namespace, "run-2", seconds=1, on_wait=waits.append)
    assert waits
    with pytest.raises(FencedError):
        await store.arm(UndoEntry(id="0-a", fault="x", operations=(OPERATION,)))
    await second.release()


@pytest.mark.parametrize("released", [True, False])
async def test_a_run_that_left_something_is_recovered_first(kube, namespace, tmp_path, released):
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    await store.arm(UndoEntry(id="0-a", fault="x", operations=(OPERATION,)))
    await (held.release() if released else die(held))
    with pytest.raises(PreflightError, match=r"left 1 fault") as caught:
        await lease.acquire(kube, namespace, "run-2", seconds=1)
    assert "drillbook recover" in caught.value.hint
    assert await lease.read_version(kube, namespace, "run-2") == ""


async def test_one_whose_lease_was_taken_away_hears_of_it_and_injects_nothing(kube, namespace, tmp_path):
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    store.fence = held.check
    assert await lease.take_from(kube, namespace, "run-1")
    async with asyncio.timeout(60):
        await held.lost.wait()
    with pytest.raises(FencedError, match="lost"):
        await store.arm(UndoEntry(id="0-a", fault="x", operations=(OPERATION,)))
    await held.release()


async def test_a_runner_that_could_not_renew_for_long_injects_nothing(kube, namespace, monkeypatch):
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    held.check()
    now = clock.monotonic()
    monkeypatch.setattr(clock, "monotonic", lambda: now + 2)
    with pytest.raises(FencedError):
        held.check()
    monkeypatch.undo()
    await held.release()


async def test_a_wall_clock_that_is_set_back_changes_nothing(kube, namespace, monkeypatch):
    monkeypatch.setattr(clock, "wall", lambda: 1_000_000_000.0)
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    monkeypatch.setattr(clock, "wall", lambda: 4_000_000_000.0)
    with pytest.raises(PreflightError, match="at work"):
        await lease.acquire(kube, namespace, "run-2", seconds=1)
    monkeypatch.setattr(clock, "wall", lambda: 10.0)
    await asyncio.sleep(0.5)
    held.check()
    await held.release()


async def test_releasing_takes_nothing_from_somebody_else(kube, namespace):
    held = await lease.acquire(kube, namespace, "run-1", seconds=1)
    await lease.take_from(kube, namespace, "run-1")
    second = await lease.acquire(kube, namespace, "run-2", seconds=1)
    await held.release()
    second.check()
    assert await lease.read_version(kube, namespace, "run-2")
    await second.release()
