"""Process faults from outside the container, where exec does not reach."""

from __future__ import annotations

import asyncio

import pytest

from drillbook.errors import UnsupportedError
from drillbook.faults import process_hang, process_kill
from drillbook.faults.fault import Draw
from drillbook.model.undo import EntryState
from drillbook.targets import paths, processes
from drillbook.undo.operations import carry_out

CORE = "VLLM::EngineCore"
RULES = "/api/v1/namespaces/kube-system/configmaps"


class Recorded(list):
    async def __call__(self, operations) -> None:
        self += operations


async def planned(module, target, **options):
    step = module.FAULT.step.model_validate({"fault": module.FAULT.name, "role": "engine", **options})
    return await module.FAULT.plan(step, 0, target, Draw(1, "run-1"))


async def core(target, ref):
    return processes.titled(await processes.look(target.kube, ref, "vllm"), CORE)


async def undone(target, operations):
    return [(await carry_out(target.kube, each, seconds=60)).state for each in reversed(operations)]


async def test_a_hang_from_outside_is_seen_and_undone_and_nothing_stays(target):
    plan, record = await planned(process_hang, target, via="helper"), Recorded()
    assert all(call.path.endswith("/pods") and '"hostPID": true' in call.body for call in plan.calls)
    injected = await process_hang.FAULT.inject(plan, target, record)
    bite = await process_hang.FAULT.verify(plan, injected, target, 5)
    assert bite.bit
    assert CORE in bite.detail
    assert [each.state for each in await core(target, plan.targets[0])] == ["T"]
    assert await undone(target, record) == [EntryState.UNDONE, EntryState.UNDONE]
    assert [each.stopped for each in await core(target, plan.targets[0])] == [False]
    left = await target.kube.list(paths.pods(target.namespace), labels="app.kubernetes.io/component=helper")
    assert left == []


async def test_what_a_killed_helper_left_is_found_and_undone_by_another(target):
    plan, record = await planned(process_hang, target, via="helper"), Recorded()
    await process_hang.FAULT.inject(plan, target, record)
    (manifest,) = plan.options["helpers"]
    await target.kube.delete(f"{paths.pods(target.namespace)}/{manifest['metadata']['name']}", grace=0)
    (ref,) = plan.targets
    # by force: the sandbox gives it the least grace, so that it may have cleared or not; stop it again in any case
    there = await core(target, ref)
    await processes.signal(target.kube, ref, "vllm", tuple(each.ref for each in there), "STOP")
    assert await undone(target, record) == [EntryState.GONE, EntryState.UNDONE]
    assert [each.stopped for each in await core(target, ref)] == [False]


async def test_where_exec_is_not_allowed_a_helper_kills(target):
    rules = "- {verbs: [create, get], resources: [pods/exec]}"
    denied = {"metadata": {"name": "sandbox-permissions"}, "data": {"denied": rules}}
    await target.kube.create(RULES, denied)
    try:
        with pytest.raises(Exception, match="exec"):
            await planned(process_kill, target, via="exec")
        plan = await planned(process_kill, target)
    finally:
        await target.kube.delete(f"{RULES}/sandbox-permissions")
    assert plan.options["via"] == "helper"
    record = Recorded()
    injected = await process_kill.FAULT.inject(plan, target, record)
    assert (await process_kill.FAULT.verify(plan, injected, target, 5)).bit
    assert await undone(target, record) == [EntryState.UNDONE]
    async with asyncio.timeout(60):
        while not await back(target):
            await asyncio.sleep(0.1)


async def back(target):
    (pod,) = await target.pods("engine")
    return all(row["ready"] and row["restartCount"] for row in pod["status"]["containerStatuses"])


async def test_where_neither_is_allowed_both_reasons_are_told(target):
    rules = "- {verbs: [create, get], resources: [pods/exec]}\n- {verbs: [create], resources: [pods]}"
    await target.kube.create(RULES, {"metadata": {"name": "sandbox-permissions"}, "data": {"denied": rules}})
    try:
        with pytest.raises(UnsupportedError) as caught:
            await planned(process_kill, target)
    finally:
        async with asyncio.timeout(5):
            await target.kube.delete(f"{RULES}/sandbox-permissions")
    assert "exec" in caught.value.message
    assert "helper pod is not allowed" in caught.value.message
