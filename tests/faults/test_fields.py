from __future__ import annotations

import pytest

from drillbook.errors import RefusedError
from drillbook.faults import fields
from drillbook.model.undo import EntryState
from drillbook.targets import paths
from drillbook.undo.operations import carry_out

NOTE = ("metadata", "annotations", "drillbook.io/x")


async def made(kube, namespace: str) -> dict:
    place = f"/api/v1/namespaces/{namespace}/configmaps"
    return await kube.create(place, {"metadata": {"name": "victim"}, "data": {"a": "1"}})


async def test_a_field_whose_parent_is_missing_is_written_and_taken_away_alone(target, kube, namespace):
    now = await made(kube, namespace)
    undo = fields.undo(paths.ref(now, "configmaps"), now, {NOTE: "ours"})
    await fields.write(undo, now, target)
    await kube.patch(paths.of(undo.object), {"metadata": {"annotations": {"theirs": "stays"}}})
    assert (await carry_out(kube, undo, seconds=5)).state is EntryState.UNDONE
    assert (await kube.get(paths.of(undo.object)))["metadata"]["annotations"] == {"theirs": "stays"}


async def test_a_parent_that_somebody_made_meanwhile_is_not_overwritten(target, kube, namespace):
    now = await made(kube, namespace)
    undo = fields.undo(paths.ref(now, "configmaps"), now, {NOTE: "ours"})
    await kube.patch(paths.of(undo.object), {"metadata": {"annotations": {"theirs": "stays"}}})
    await fields.write(undo, now, target)
    notes = (await kube.get(paths.of(undo.object)))["metadata"]["annotations"]
    assert notes == {"theirs": "stays", "drillbook.io/x": "ours"}


async def test_a_field_that_somebody_wrote_meanwhile_is_theirs(target, kube, namespace):
    now = await made(kube, namespace)
    undo = fields.undo(paths.ref(now, "configmaps"), now, {("data", "a"): "2"})
    await kube.patch(paths.of(undo.object), {"data": {"a": "theirs"}})
    with pytest.raises(RefusedError, match="changed by someone else"):
        await fields.write(undo, now, target)


async def test_what_holds_the_value_already_needs_no_undo(kube, namespace):
    now = await made(kube, namespace)
    assert fields.undo(paths.ref(now, "configmaps"), now, {("data", "a"): "1"}).fields == ()
