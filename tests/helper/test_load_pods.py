"""A load through Locust from pods of a real sandbox: real processes behind exec, in network namespaces of their own."""

from __future__ import annotations

import asyncio
import importlib.util

import msgspec
import pytest

from drillbook import clock
from drillbook.errors import PreflightError, RefusedError
from drillbook.load import engines
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import GeneratorError
from drillbook.model.events import Line, LoadTicked, Noted
from drillbook.model.experiment import LoadSpec, TargetSpec
from drillbook.model.request import Outcome, RequestRecord
from drillbook.model.undo import LOAD, EntryState, UndoEntry
from drillbook.targets import paths
from drillbook.targets.podexec import NoProgramError
from drillbook.targets.target import open_target
from drillbook.undo.record import UndoStore
from drillbook.undo.undo import undo_all

pytestmark = pytest.mark.skipif(importlib.util.find_spec("locust") is None, reason="Locust is not installed")
SPEC = LoadSpec.model_validate(
    {"rate": "20/s", "engine": "locust", "workers": 2, "in": "pods", "output-tokens": 4, "prompts": "short"}
)


async def pods_left(target):
    labels = "app.kubernetes.io/managed-by=drillbook,app.kubernetes.io/component=load"
    return await target.kube.list(paths.pods(target.namespace), labels=labels)


async def fleet_of(target, folder, spec=SPEC, run_id="run-1"):
    pods = await engines.pods(spec, target, run_id=run_id, seconds=60)
    url, model = await target.endpoint(), await target.model()
    config = GeneratorConfig.of(spec, folder=folder, base_url=url, model=model, beside=folder)
    return engines.generator(spec, config, pods), pods


def records(lines):
    return [line.event for line in lines if isinstance(line.event, RequestRecord)]


async def test_workers_in_pods_send_the_load_and_leave_nothing_behind(target, tmp_path):
    (tmp_path / "own.jsonl").write_text('{"prompt": "Only this machine has the file."}\n', encoding="utf-8")
    spec = SPEC.model_copy(update={"prompts": "own.jsonl"})
    fleet, pods = await fleet_of(target, tmp_path, spec)
    lines, begun = [], clock.monotonic()
    async with fleet:
        made = await pods_left(target)
        async for line in fleet:
            lines.append(line)
            if len(records(lines)) >= 40:
                break
        await fleet.stop(drain=5)
        lines += [line async for line in fleet]
    assert fleet.failure is None
    assert {f"POST {paths.pods(target.namespace)}"} == {f"{call.verb} {call.path}" for call in pods.calls}
    assert sorted(pod["metadata"]["name"] for pod in made) == sorted(
        msgspec.json.decode(call.body)["metadata"]["name"] for call in pods.calls
    )
    assert {pod["spec"]["activeDeadlineSeconds"] for pod in made} == {450}
    assert not await pods_left(target)
    decode = msgspec.json.Decoder(Line).decode
    for writer in ("load-1", "load-2", "load-master"):
        rows = (tmp_path / f"requests-{writer}.jsonl").read_bytes().splitlines()
        assert [decode(row).seq for row in rows] == list(range(len(rows)))
    shares = [[line.event for line in lines if line.writer == f"load-{each}"] for each in (1, 2)]
    assert all(any(isinstance(event, LoadTicked) for event in share) for share in shares)
    assert {record.outcome for record in records(lines)} == {Outcome.OK}
    assert min(record.scheduled for record in records(lines)) > begun
    told = [line.event.text for line in lines if isinstance(line.event, Noted)]
    assert f"Locust counted {len(records(lines))} requests, 0 of them failures" in told
    assert any("own.jsonl (1 prompts)" in text for text in told)


async def test_a_worker_whose_pod_is_deleted_ends_the_load_by_its_name(target, tmp_path):
    fleet, _ = await fleet_of(target, tmp_path)
    async with fleet:
        (victim,) = [pod for pod in await pods_left(target) if pod["metadata"]["name"].endswith("-2")]
        await target.kube.delete(paths.pod(target.namespace, victim["metadata"]["name"]), grace=0)
        with pytest.raises(GeneratorError, match=f"load-2: .*the pod {victim['metadata']['name']}"):
            async for _ in fleet:
                pass
    assert not await pods_left(target)


@pytest.mark.parametrize(
    ("helper", "says"),
    [
        ({"image": "registry.example/nothing:1"}, "does not work: .*nothing:1"),
        ({"python": "no-such-python"}, "the load pod drillbook-load-.* does not work"),
    ],
    ids=["no image", "no drillbook in it"],
)
async def test_a_pod_that_does_not_come_up_is_told_and_none_is_left(sandbox, tmp_path, helper, says):
    spec = TargetSpec.model_validate({"helper": helper})
    async with await open_target(spec, sandbox=sandbox) as target:
        fleet, _ = await fleet_of(target, tmp_path)
        with pytest.raises(RefusedError, match=says):
            async with fleet:
                pass
        assert not await pods_left(target)


async def test_a_pod_that_does_not_reach_the_target_says_so(target, tmp_path, monkeypatch):
    async def unreachable():
        return "http://127.0.0.1:1"  # which in a pod is the pod itself

    monkeypatch.setattr(target, "endpoint_inside", unreachable)
    fleet, _ = await fleet_of(target, tmp_path)
    with pytest.raises(RefusedError, match=r"the target does not answer this pod at 127.0.0.1:1"):
        async with fleet:
            pass
    assert not await pods_left(target)


async def test_pods_of_a_runner_that_is_gone_are_undone(target, tmp_path):
    _, pods = await fleet_of(target, tmp_path)
    store = await UndoStore.create(target.kube, target.namespace, "run-gone", "A title", tmp_path)
    await store.arm(UndoEntry(id=LOAD, fault=LOAD, operations=pods.undo))
    await pods.begin()
    assert len(await pods_left(target)) == 3
    assert await undo_all(store, "runner", sparing=LOAD) == []
    assert len(await pods_left(target)) == 3  # while the run settles the load goes on
    (entry,) = await undo_all(store, "recover")
    assert entry.state is EntryState.UNDONE
    assert not await pods_left(target)
    await store.remove()


async def test_a_program_in_a_pod_is_talked_with(target, engine):
    pod = paths.pod_ref(engine)
    shell = await target.kube.process(pod, "vllm", ("sh", "-c", "while read word; do echo got $word; done; exit 3"))
    for word in ("one", "two"):
        shell.write(f"{word}\n".encode())
        async with asyncio.timeout(20):
            assert await shell.stdout.readline() == f"got {word}\n".encode()
    shell.kill()
    with pytest.raises(PreflightError, match="the stream ended"):
        await shell.wait()
    assert await shell.stdout.read() == b""
    failing = await target.kube.process(pod, "vllm", ("sh", "-c", "echo bad >&2; exit 3"))
    assert await failing.wait() == 3
    assert await failing.stderr.read() == b"bad\n"
    absent = await target.kube.process(pod, "vllm", ("no-such-program",))
    with pytest.raises(NoProgramError):
        await absent.wait()
