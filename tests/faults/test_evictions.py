"""When an evicted pod counts as gone: off what a busy kubelet of a real cluster was seen to write."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from drillbook.faults.evictions import Evicted, ended
from drillbook.model.undo import ObjectRef

POD = ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name="router-0", uid="u1")
RUNNING, WAITING = {"running": {}}, {"waiting": {"reason": "ContainerCreating"}}


def target(*, ready: str, state: dict, ending: bool = True, uid: str = "u1"):
    async def find(_path):
        meta = {"uid": uid} | ({"deletionTimestamp": "2026-11-22T04:38:20Z"} if ending else {})
        conditions = [{"type": "Ready", "status": ready}]
        return {"metadata": meta, "status": {"conditions": conditions, "containerStatuses": [{"state": state}]}}

    return SimpleNamespace(kube=SimpleNamespace(find=find))


async def bite(there):
    return await ended(Evicted(going=[POD]), there, 0)


async def test_a_pod_on_its_way_out_that_is_not_ready_serves_nobody_even_where_its_kubelet_is_slow_to_let_go():
    assert (await bite(target(ready="False", state=WAITING))).bit


@pytest.mark.parametrize(
    "still",
    [target(ready="True", state=RUNNING), target(ready="False", state=WAITING, ending=False)],
    ids=["ready while it ends", "not asked to go"],
)
async def test_a_pod_that_may_still_serve_is_no_bite(still):
    found = await bite(still)
    assert (found.bit, found.detail) == (False, "router-0 still serves")


async def test_another_pod_of_the_same_name_is_a_replacement():
    assert (await bite(target(ready="True", state=RUNNING, ending=False, uid="u2"))).bit
