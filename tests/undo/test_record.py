from __future__ import annotations

import asyncio

import msgspec
import pytest

from drillbook.errors import UndoError
from drillbook.model.undo import DeleteObject, EntryState, ObjectRef, UndoEntry, UndoRecord
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError, UnavailableError
from drillbook.targets.kube import Kube
from drillbook.undo import folder as folders
from drillbook.undo.record import KEY, FencedError, UndoStore, find_records, name_of

OPERATION = DeleteObject(
    object=ObjectRef(api_version="v1", kind="ConfigMap", plural="configmaps", namespace="llm", name="made", uid="u")
)
"""Something to undo; nothing here carries it out."""


def entry(name: str) -> UndoEntry:
    return UndoEntry(id=name, fault="process-hang", operations=(OPERATION,))


async def stored(store: UndoStore) -> UndoRecord:
    config_map = await store.kube.get(store.path)
    return msgspec.json.decode(config_map["data"][KEY], type=UndoRecord)


@pytest.fixture
async def store(kube, namespace, tmp_path):
    return await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)


async def test_what_is_armed_lies_at_the_target_and_in_the_run_folder_alike(store, tmp_path):
    await store.arm(entry("0-a"))
    await store.arm(entry("1-b"))
    await store.mark("0-a", EntryState.UNDONE, "done")
    assert await stored(store) == folders.read(tmp_path) == store.record
    assert [each.id for each in store.record.remaining] == ["1-b"]
    assert store.record.epoch == 3


async def test_the_record_belongs_to_nothing_that_could_be_deleted_with_it(store):
    meta = (await store.kube.get(store.path))["metadata"]
    assert "ownerReferences" not in meta
    assert meta["labels"]["app.kubernetes.io/managed-by"] == "drillbook"


async def test_after_closing_nothing_can_be_armed_not_even_by_one_who_has_not_heard_of_it(store, kube, namespace):
    watchdog = await UndoStore.open(kube, namespace, "run-1")
    await watchdog.close("watchdog")
    assert not store.record.closed
    with pytest.raises(FencedError, match="watchdog"):
        await store.arm(entry("0-a"))
    assert (await stored(store)).entries == ()


async def test_a_record_that_is_gone_fences_too(store):
    await store.close("recover")
    await store.remove()
    with pytest.raises(FencedError):
        await store.arm(entry("0-a"))


async def test_a_record_that_is_still_needed_is_not_removed(store):
    await store.arm(entry("0-a"))
    await store.close("runner")
    with pytest.raises(UndoError, match="still needed"):
        await store.remove()


async def test_many_writers_at_once_lose_nothing(kube, namespace, store):
    others = [await UndoStore.open(kube, namespace, "run-1") for _ in range(8)]
    await asyncio.gather(*(other.arm(entry(f"{number}-x")) for number, other in enumerate(others)))
    assert {each.id for each in (await store.refresh()).entries} == {f"{number}-x" for number in range(8)}
    assert store.record.epoch == 8


async def test_either_the_fault_is_recorded_or_it_is_fenced_whoever_comes_first(kube, namespace, tmp_path):
    for number in range(20):
        runner = await UndoStore.create(kube, namespace, f"race-{number}", "A title", tmp_path)
        watchdog = await UndoStore.open(kube, namespace, f"race-{number}")
        armed, closed = await asyncio.gather(
            runner.arm(entry("0-a")), watchdog.close("watchdog"), return_exceptions=True
        )
        assert closed is None
        record = await stored(runner)
        assert record.closed
        assert bool(record.entries) == (armed is None)
        assert armed is None or isinstance(armed, FencedError)


async def test_an_older_copy_never_replaces_a_newer_one(tmp_path):
    new = UndoRecord(run_id="r", experiment="x", epoch=5, closed=True)
    folders.write(tmp_path, new)
    folders.write(tmp_path, UndoRecord(run_id="r", experiment="x", epoch=4))
    assert folders.read(tmp_path) == new


async def test_without_the_copy_in_the_run_folder_no_fault_is_armed_but_every_undo_is(store, tmp_path, monkeypatch):
    await store.arm(entry("0-a"))

    def full(*_: object) -> None:
        raise UndoError("undo.json cannot be written: No space left on device")

    monkeypatch.setattr(folders, "write", full)
    with pytest.raises(UndoError, match="space"):
        await store.arm(entry("1-b"))
    await store.close("runner")
    await store.mark("0-a", EntryState.UNDONE)
    assert (await stored(store)).closed


async def test_a_run_folder_that_is_gone_is_told(kube, namespace, tmp_path):
    with pytest.raises(UndoError, match=r"undo\.json"):
        await UndoStore.create(kube, namespace, "run-2", "A title", tmp_path / "nowhere")


async def test_with_the_target_s_record_lost_the_folder_s_serves(store, kube, namespace, tmp_path):
    await store.arm(entry("0-a"))
    await kube.delete(store.path)
    again = await UndoStore.open(kube, namespace, "run-1", tmp_path)
    assert [each.id for each in again.record.remaining] == ["0-a"]
    await again.close("recover")
    await again.mark("0-a", EntryState.UNDONE)
    assert folders.read(tmp_path).remaining == ()
    with pytest.raises(UndoError, match="no undo record"):
        await UndoStore.open(kube, namespace, "run-9", tmp_path)


async def test_a_fault_that_has_no_undo_leaves_nothing_to_be_undone(store):
    await store.arm(UndoEntry(id="0-pod-kill", fault="pod-kill", operations=()))
    assert store.record.remaining == ()
    await store.close("runner")
    await store.remove()


async def test_a_run_s_id_is_used_once(store, kube, namespace, tmp_path):
    with pytest.raises(ConflictError):
        await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)


async def test_a_write_whose_answer_was_lost_is_looked_for_before_the_next(own_plane, tmp_path):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await kube.create("/api/v1/namespaces", {"metadata": {"name": "llm"}})
        store = await UndoStore.create(kube, "llm", "run-1", "A title", tmp_path)
        await asyncio.to_thread(own_plane.kill)
        with pytest.raises(UnavailableError):
            await store.arm(entry("0-a"))
        await asyncio.to_thread(own_plane.start)
        other = await UndoStore.open(kube, "llm", "run-1")
        await other.arm(entry("9-other"))
        await store.arm(entry("0-a"))
        assert {each.id for each in store.record.entries} == {"9-other", "0-a"}


async def test_records_are_found_by_their_label_and_a_damaged_one_is_told(store, kube, namespace):
    broken = {
        "metadata": {
            "name": "drillbook-undo-x",
            "labels": {"app.kubernetes.io/managed-by": "drillbook", "drillbook.dev/record": "undo"},
        }
    }
    await kube.create(paths.collection("v1", "configmaps", namespace), {**broken, "data": {KEY: "{"}})
    found = await find_records(kube, [namespace])
    assert [bool(each.store) for each in found] == [True, False]
    assert "cannot be read" in found[1].damage


@pytest.mark.parametrize("run_id", ["20261121-210458-3f2a", "Über/Run 1", "x" * 400, "--", "a.b-c"])
def test_any_run_s_id_makes_a_name_that_kubernetes_takes(run_id):
    import re

    name = name_of(run_id)
    assert len(name) <= 253
    assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name)


def test_two_runs_never_share_a_name():
    assert name_of("run A") != name_of("run a") != name_of("run-a")
