"""process-kill and process-hang on the sandbox's engines: real processes in PID namespaces, reached through exec."""

from __future__ import annotations

import asyncio

import control_plane as planes
import pytest

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.faults import process_hang, process_kill, victims
from drillbook.faults.fault import Draw
from drillbook.model.undo import EntryState
from drillbook.targets import paths, processes
from drillbook.undo.operations import carry_out

pytestmark = pytest.mark.root


class Recorded(list):
    async def __call__(self, operations) -> None:
        self += operations


async def planned(module, target, **options):
    step = module.FAULT.step.model_validate({"fault": module.FAULT.name, **options})
    return await module.FAULT.plan(step, 0, target, Draw(1))


async def states(target, pod) -> dict[str, str]:
    return {each.ref.title: each.state for each in await processes.look(target.kube, pod, "vllm")}


async def test_a_hung_engine_core_is_stopped_alone_and_goes_on_after_the_undo(simulated):
    plan, record = await planned(process_hang, simulated), Recorded()
    injected = await process_hang.FAULT.inject(plan, simulated, record)
    try:
        bite = await process_hang.FAULT.verify(plan, injected, simulated, 5)
        assert bite.bit, bite.detail
        seen = await states(simulated, plan.targets[0])
        assert [title for title, state in seen.items() if state == "T"] == ["VLLM::EngineCore"]
        others = [paths.pod_ref(pod) for pod in await simulated.pods("engine")]
        (other,) = [pod for pod in others if pod != plan.targets[0]]
        assert "T" not in (await states(simulated, other)).values()
    finally:
        outcome = await carry_out(simulated.kube, record[0], seconds=10)
    assert outcome.state is EntryState.UNDONE
    assert "T" not in (await states(simulated, plan.targets[0])).values()
    assert (await carry_out(simulated.kube, record[0], seconds=10)).state is EntryState.UNDONE


async def test_a_process_that_somebody_else_stopped_is_not_ours_to_hang(simulated):
    plan, record = await planned(process_hang, simulated), Recorded()
    await process_hang.FAULT.inject(plan, simulated, record)
    try:
        with pytest.raises(RefusedError, match="already stopped"):
            await process_hang.FAULT.inject(plan, simulated, Recorded())
    finally:
        await carry_out(simulated.kube, record[0], seconds=10)


async def test_a_hang_that_somebody_ended_at_once_did_not_bite(simulated):
    plan, record = await planned(process_hang, simulated), Recorded()
    injected = await process_hang.FAULT.inject(plan, simulated, record)
    await carry_out(simulated.kube, record[0], seconds=10)
    bite = await process_hang.FAULT.verify(plan, injected, simulated, 0.3)
    assert not bite.bit
    assert "VLLM::EngineCore" in bite.detail


async def test_the_undo_of_a_hang_is_gone_once_the_container_was_restarted(simulated):
    plan, record = await planned(process_hang, simulated), Recorded()
    await process_hang.FAULT.inject(plan, simulated, record)
    pod = plan.targets[0]
    await processes.signal(simulated.kube, pod, "vllm", record[0].processes, "KILL")
    old = record[0].container_id
    async with asyncio.timeout(60):
        while await victims.container_id(simulated, pod, "vllm") in ("", old):
            await asyncio.sleep(0.1)
    outcome = await carry_out(simulated.kube, record[0], seconds=10)
    assert outcome.state is EntryState.GONE
    assert "restarted" in outcome.detail


async def test_the_undo_of_a_hang_is_gone_once_the_pod_was_replaced(simulated):
    plan, record = await planned(process_hang, simulated), Recorded()
    await process_hang.FAULT.inject(plan, simulated, record)
    await simulated.kube.delete(paths.of(plan.targets[0]), grace=0)
    outcome = await carry_out(simulated.kube, record[0], seconds=10)
    assert outcome.state is EntryState.GONE


async def test_a_killed_engine_core_is_seen_to_have_ended(simulated):
    plan, record = await planned(process_kill, simulated), Recorded()
    injected = await process_kill.FAULT.inject(plan, simulated, record)
    bite = await process_kill.FAULT.verify(plan, injected, simulated, 10)
    assert bite.bit, bite.detail
    assert record == []
    async with asyncio.timeout(60):
        while await victims.container_id(simulated, plan.targets[0], "vllm") in (
            "",
            injected.seen["victims"][0].container_id,
        ):
            await asyncio.sleep(0.1)


async def test_exec_that_is_forbidden_is_refused(simulated):
    plan = await planned(process_hang, simulated)
    async with planes.denied(simulated.kube, resources=["pods/exec"]):
        assert not all([await simulated.kube.can(permission) for permission in plan.permissions])
        with pytest.raises(RefusedError, match="not allowed to exec"):
            await process_hang.FAULT.inject(plan, simulated, Recorded())


async def test_a_title_that_is_not_there_is_unsupported_and_says_what_is(simulated):
    with pytest.raises(UnsupportedError, match="VLLM::NoSuch") as caught:
        await planned(process_kill, simulated, process="VLLM::NoSuch")
    assert "VLLM::EngineCore" in caught.value.hint


async def test_process_one_is_unsupported(simulated):
    pods = await simulated.pods("engine")
    there = await processes.look(simulated.kube, paths.pod_ref(pods[0]), "vllm")
    (first,) = [each.ref.title for each in there if each.ref.pid == 1]
    with pytest.raises(UnsupportedError, match="process 1"):
        await planned(process_kill, simulated, process=first)


async def test_a_container_that_does_not_exist_is_unsupported(simulated):
    with pytest.raises(UnsupportedError, match="nowhere"):
        await planned(process_kill, simulated, container="nowhere")


async def test_a_pod_that_sees_the_machine_s_processes_is_unsupported(simulated, monkeypatch):
    pods = await simulated.pods("engine")

    async def shared(role: str = "engine"):
        return [{**pod, "spec": {**pod["spec"], "hostPID": True}} for pod in pods]

    monkeypatch.setattr(simulated, "pods", shared)
    with pytest.raises(UnsupportedError, match="hostPID"):
        await planned(process_hang, simulated)


async def test_a_program_that_is_not_in_the_image_is_unsupported(simulated):
    pods = await simulated.pods("engine")
    with pytest.raises(UnsupportedError, match="not in the image"):
        await simulated.kube.exec(simulated.namespace, pods[0]["metadata"]["name"], "vllm", ("no-such-program",))


async def test_exec_tells_output_errors_and_exit_code(simulated):
    pods = await simulated.pods("engine")
    name = pods[0]["metadata"]["name"]
    result = await simulated.kube.exec(
        simulated.namespace, name, "vllm", ("sh", "-c", "echo out; echo err >&2; exit 3")
    )
    assert (result.stdout, result.stderr, result.exit_code) == ("out\n", "err\n", 3)


async def test_what_is_sent_to_stdin_is_read_to_its_end(simulated):
    pods = await simulated.pods("engine")
    name = pods[0]["metadata"]["name"]
    result = await simulated.kube.exec(simulated.namespace, name, "vllm", ("cat",), stdin=b"all of it")
    assert (result.stdout, result.exit_code) == ("all of it", 0)
