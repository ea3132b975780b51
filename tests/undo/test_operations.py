from __future__ import annotations

import asyncio
import uuid

import pytest

from drillbook.model.undo import DeleteObject, EntryState, FieldChange, RemoveItem, RestoreFields, UndoEntry
from drillbook.targets import paths
from drillbook.targets.kube import Kube
from drillbook.undo import operations
from drillbook.undo.operations import carry_out, describe, pointer
from drillbook.undo.record import UndoStore
from drillbook.undo.undo import undo_all, undo_entry


def place(namespace: str) -> str:
    return paths.collection("v1", "configmaps", namespace)


async def broken(kube: Kube, namespace: str, name: str = "victim") -> RestoreFields:
    """An object with three fields that we changed: one replaced, one added, one with an odd name."""
    before = {"keep": "1", "changed": "old", "a~b.c": "old"}
    made = await kube.create(place(namespace), {"metadata": {"name": name}, "data": before})
    await kube.patch(f"{place(namespace)}/{name}", {"data": {"changed": "new", "added": "new", "a~b.c": "new"}})
    fields = (
        FieldChange(path=("data", "changed"), existed=True, before="old", wrote="new"),
        FieldChange(path=("data", "added"), existed=False, before=None, wrote="new"),
        FieldChange(path=("data", "a~b.c"), existed=True, before="old", wrote="new"),
    )
    return RestoreFields(object=paths.ref(made, "configmaps"), fields=fields)


async def data(kube: Kube, operation: RestoreFields) -> dict[str, str]:
    return (await kube.get(paths.of(operation.object)))["data"]


async def test_fields_are_put_back_and_those_that_were_not_there_removed(kube, namespace):
    operation = await broken(kube, namespace)
    outcome = await carry_out(kube, operation, seconds=5)
    assert outcome.state is EntryState.UNDONE
    assert await data(kube, operation) == {"keep": "1", "changed": "old", "a~b.c": "old"}


async def test_undoing_twice_changes_nothing_more(kube, namespace):
    operation = await broken(kube, namespace)
    await carry_out(kube, operation, seconds=5)
    version = (await kube.get(paths.of(operation.object)))["metadata"]["resourceVersion"]
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.UNDONE
    assert (await kube.get(paths.of(operation.object)))["metadata"]["resourceVersion"] == version


async def test_a_field_that_somebody_else_changed_is_reported_and_left_alone(kube, namespace):
    operation = await broken(kube, namespace)
    await kube.patch(paths.of(operation.object), {"data": {"changed": "theirs"}})
    outcome = await carry_out(kube, operation, seconds=5)
    assert outcome.state is EntryState.SUPERSEDED
    assert "'theirs'" in outcome.detail
    assert await data(kube, operation) == {"keep": "1", "changed": "theirs", "a~b.c": "old"}


async def test_somebody_else_who_writes_at_the_same_moment_is_never_overwritten(kube, namespace):
    for number in range(20):
        operation = await broken(kube, namespace, f"victim-{number}")
        theirs = kube.patch(paths.of(operation.object), {"data": {"changed": "theirs"}})
        outcome, _ = await asyncio.gather(carry_out(kube, operation, seconds=5), theirs)
        now = await data(kube, operation)
        assert now["changed"] == "theirs", "their write came last, or ours left it alone"
        assert outcome.state in (EntryState.SUPERSEDED, EntryState.UNDONE)


async def test_an_object_that_is_gone_or_a_namesake_needs_no_undo(kube, namespace):
    operation = await broken(kube, namespace)
    await kube.delete(paths.of(operation.object))
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.GONE
    await kube.create(place(namespace), {"metadata": {"name": "victim"}, "data": {"changed": "new"}})
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.GONE
    assert await data(kube, operation) == {"changed": "new"}


async def test_what_we_made_is_deleted_and_a_namesake_is_not(kube, namespace):
    made = await kube.create(place(namespace), {"metadata": {"name": "helper"}})
    operation = DeleteObject(object=paths.ref(made, "configmaps"))
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.UNDONE
    await kube.create(place(namespace), {"metadata": {"name": "helper"}})
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.GONE
    assert await kube.find(f"{place(namespace)}/helper")


async def test_what_resists_deletion_is_a_failure(kube, namespace, monkeypatch):
    monkeypatch.setattr("drillbook.undo.operations.PAUSE", 0.01)
    made = await kube.create(place(namespace), {"metadata": {"name": "helper", "finalizers": ["example.com/stay"]}})
    outcome = await carry_out(kube, DeleteObject(object=paths.ref(made, "configmaps")), seconds=5)
    assert outcome.state is EntryState.FAILED
    assert "finalizer" in outcome.detail


async def test_two_that_undo_at_once_do_it_once(kube, namespace):
    operation = await broken(kube, namespace)
    outcomes = await asyncio.gather(*(carry_out(kube, operation, seconds=5) for _ in range(6)))
    assert {outcome.state for outcome in outcomes} == {EntryState.UNDONE}
    assert await data(kube, operation) == {"keep": "1", "changed": "old", "a~b.c": "old"}


async def test_the_undo_outlasts_an_api_server_that_is_away(own_plane):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await kube.create("/api/v1/namespaces", {"metadata": {"name": "llm"}})
        operation = await broken(kube, "llm")
        await asyncio.to_thread(own_plane.kill)
        undoing = asyncio.create_task(carry_out(kube, operation, seconds=20))
        failed = await carry_out(kube, operation, seconds=0.5)
        assert failed.state is EntryState.FAILED
        assert "does not answer" in failed.detail
        await asyncio.to_thread(own_plane.start)
        assert (await undoing).state is EntryState.UNDONE


async def test_all_entries_are_undone_last_first_and_marked(kube, namespace, tmp_path):
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    first, second = await broken(kube, namespace, "one"), await broken(kube, namespace, "two")
    await store.arm(UndoEntry(id="0-a", fault="x", operations=(first,)))
    await store.arm(UndoEntry(id="1-b", fault="x", operations=(second,)))
    heard: list[str] = []
    done = await undo_all(store, "runner", tell=lambda entry: heard.append(entry.id))
    assert heard == [entry.id for entry in done] == ["1-b", "0-a"]
    assert {entry.state for entry in (await store.refresh()).entries} == {EntryState.UNDONE}
    assert (store.record.closed, store.record.closed_by) == (True, "runner")


async def test_one_entry_is_undone_in_the_middle_of_a_run(kube, namespace, tmp_path):
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    await store.arm(UndoEntry(id="0-a", fault="x", operations=(await broken(kube, namespace),)))
    assert (await undo_entry(store, "0-a")).state is EntryState.UNDONE
    await store.arm(UndoEntry(id="1-b", fault="x", operations=()))
    assert not store.record.closed


async def test_what_lands_after_the_undo_is_found_and_undone_and_the_first_ending_stays_told(kube, namespace, tmp_path):
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    operation = await broken(kube, namespace)
    await store.arm(UndoEntry(id="0-a", fault="x", operations=(operation,)))
    await undo_all(store, "watchdog")
    await kube.patch(paths.of(operation.object), {"data": {"changed": "new"}})
    (entry,) = await undo_all(store, "watchdog")
    assert entry.state is EntryState.UNDONE
    assert (await data(kube, operation))["changed"] == "old"


async def test_our_item_leaves_a_list_and_what_others_put_there_stays(kube):
    name = f"node-{uuid.uuid4().hex[:8]}"
    ours, theirs = ({"key": key, "value": "1", "effect": "NoSchedule"} for key in ("ours", "theirs"))
    made = await kube.create("/api/v1/nodes", {"metadata": {"name": name}, "spec": {"taints": [ours, theirs]}})
    operation = RemoveItem(object=paths.ref(made, "nodes"), path=("spec", "taints"), item=ours)
    for _ in range(2):
        assert (await carry_out(kube, operation, seconds=5)).state is EntryState.UNDONE
        keys = [taint["key"] for taint in (await kube.get(f"/api/v1/nodes/{name}"))["spec"]["taints"]]
        assert "theirs" in keys
        assert "ours" not in keys
    await kube.delete(f"/api/v1/nodes/{name}")
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.GONE


async def test_a_field_of_the_status_is_put_back_through_its_own_path(kube):
    name = f"node-{uuid.uuid4().hex[:8]}"
    made = await kube.create("/api/v1/nodes", {"metadata": {"name": name}})
    place = f"/api/v1/nodes/{name}"
    await kube.patch(f"{place}/status", {"status": {"allocatable": {"nvidia.com/gpu": "7"}}})
    field = FieldChange(path=("status", "allocatable", "nvidia.com/gpu"), existed=True, before="8", wrote="7")
    operation = RestoreFields(object=paths.ref(made, "nodes"), fields=(field,), subresource="status")
    assert (await carry_out(kube, operation, seconds=5)).state is EntryState.UNDONE
    assert (await kube.get(place))["status"]["allocatable"] == {"nvidia.com/gpu": "8"}
    await kube.delete(place)


def test_a_path_is_a_json_pointer():
    assert pointer(("spec", "template", "a/b~c", 0)) == "/spec/template/a~1b~0c/0"


async def test_each_operation_can_be_said_in_words(kube, namespace):
    operation = await broken(kube, namespace)
    assert describe(operation) == (
        "set /data/changed back to old, remove /data/added, /data/a~0b.c back to old in configmap/victim"
    )
    assert describe(DeleteObject(object=operation.object)) == "delete configmap/victim"


@pytest.mark.parametrize("seconds", [0.0, 0.1])
async def test_even_without_any_time_one_attempt_is_made(kube, namespace, seconds):
    operation = await broken(kube, namespace)
    assert (await carry_out(kube, operation, seconds=seconds)).state is EntryState.UNDONE


async def test_a_bug_over_one_object_leaves_no_other_broken(kube, namespace, monkeypatch, tmp_path):
    first, second = await broken(kube, namespace), await broken(kube, namespace, "another")
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path)
    for number, operation in enumerate((first, second)):
        await store.arm(UndoEntry(id=f"{number}-x", fault="x", operations=(operation,)))
    real = operations._attempt

    async def attempt(kube, operation):
        if operation == second:
            raise KeyError("status")
        return await real(kube, operation)

    monkeypatch.setattr(operations, "_attempt", attempt)
    done = {entry.id: entry for entry in await undo_all(store, "runner", seconds=1.0)}
    assert done["1-x"].state is EntryState.FAILED
    assert "KeyError: 'status'" in done["1-x"].detail
    assert done["0-x"].state is EntryState.UNDONE
    assert [entry.id for entry in store.record.remaining] == ["1-x"]
