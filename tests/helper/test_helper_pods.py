"""Helper pods in the sandbox: what they reach, and that it ends with them."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from pathlib import Path

import pytest

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.model.experiment import HelperSpec, TargetSpec
from drillbook.model.undo import EntryState
from drillbook.targets import helper, paths, processes
from drillbook.undo import operations

CORE = "VLLM::EngineCore"


def container_of(pod):
    return next(row for row in pod["status"]["containerStatuses"] if row["name"] == "vllm")


def signal(pod, name="STOP", title=CORE):
    arguments = {
        "pod": pod["metadata"]["uid"],
        "container": "vllm",
        "container_id": container_of(pod)["containerID"],
        "title": title,
        "signal": name,
    }
    return ("signal", json.dumps(arguments))


def manifest(target, pod, argv, seconds=60.0):
    return helper.manifest(target, run_id=uuid.uuid4().hex[:8], purpose="test", argv=argv, near=pod, seconds=seconds)


async def state(target, pod, title=CORE):
    there = await processes.look(target.kube, paths.pod_ref(pod), "vllm")
    return [each.state for each in processes.titled(there, title)]


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_a_helper_stops_a_process_from_outside_and_its_undo_lets_it_go_on(target, engine):
    wanted = manifest(target, engine, signal(engine))
    await helper.check(target, wanted)
    ref = await helper.start(target, wanted)
    lines = await helper.said(target, ref, 20)
    assert [each["title"] for each in lines[0]["did"]["processes"]] == [CORE]
    assert await state(target, engine) == ["T"]

    outcome = await operations.carry_out(target.kube, helper.undo(wanted), seconds=30)
    assert outcome.state is EntryState.UNDONE
    assert await state(target, engine) != ["T"]
    assert await target.kube.find(paths.of(ref)) is None


async def test_a_helper_clears_at_its_own_deadline(target, engine):
    ref = await helper.start(target, manifest(target, engine, signal(engine), seconds=1.0))
    await helper.said(target, ref, 20)

    async def ended():
        return (await target.kube.get(paths.of(ref)))["status"]["phase"] == "Succeeded"

    await until(ended)
    assert await state(target, engine) != ["T"]
    lines = await helper.said(target, ref, 5)
    (removed,) = lines[1]["cleared"]["removed"]
    assert f"the stop of {CORE}" in removed
    await helper.stop(target, ref)


async def test_a_helper_that_finds_no_such_process_says_what_there_is(target, engine):
    ref = await helper.start(target, manifest(target, engine, signal(engine, title="no-such-process")))
    with pytest.raises(UnsupportedError, match="no-such-process") as caught:
        await helper.said(target, ref, 20)
    assert CORE in caught.value.hint
    await helper.stop(target, ref)


async def test_a_helper_without_its_image_is_told_in_the_kubelets_words(target, engine):
    wanted = manifest(target, engine, signal(engine))
    wanted["spec"]["containers"][0]["image"] = "nowhere/nothing:1"
    ref = await helper.start(target, wanted)
    with pytest.raises(RefusedError, match="ErrImagePull") as caught:
        await helper.said(target, ref, 20)
    assert "target: {helper: {image" in caught.value.hint
    await helper.stop(target, ref)


async def ask(target, pod, script):
    """What a Python script says in a helper pod."""
    wanted = manifest(target, pod, ())
    wanted["spec"]["containers"][0] |= {"command": ["python3", "-c", script], "args": [pod["metadata"]["uid"]]}
    ref = await helper.start(target, wanted)
    (said,) = await helper.said(target, ref, 20)
    await helper.stop(target, ref)
    return said["said"]


async def test_a_helper_sees_the_pods_of_its_sandbox_and_no_process_of_the_machine(target, engine):
    script = (
        "import json, os, pathlib; pids = [int(each) for each in os.listdir('/proc') if each.isdigit()]\n"
        "titles = [pathlib.Path(f'/proc/{pid}/cmdline').read_text().replace(chr(0), ' ').strip() for pid in pids]\n"
        "print(json.dumps({'said': [titles, os.readlink('/proc/self/ns/pid')]}))"
    )
    titles, namespace = await ask(target, engine, script)
    assert CORE in titles
    assert any("router" in title for title in titles)
    assert not any("drillbook.sandbox.control" in title for title in titles)
    assert _cmdline(Path("/proc/self")).replace(b"\0", b" ").decode().strip() not in titles
    assert namespace != str(Path("/proc/self/ns/pid").readlink())


async def test_a_helper_enters_the_network_of_its_victim(target, engine):
    script = (
        "import json, socket, sys; from drillbook.helper import victim\n"
        "def own(): s = socket.socket(type=socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9)); return s.getsockname()[0]\n"
        "before = own()\n"
        "with victim.network(sys.argv[1]): inside = own()\n"
        "print(json.dumps({'said': [before, inside, own()]}))"
    )
    before, inside, after = await ask(target, engine, script)
    assert inside == engine["status"]["podIP"]
    assert before == after != inside


async def test_the_end_of_a_helper_ends_what_it_started(target, engine):
    mark = f"sleep {60000 + os.getpid()}"
    script = (
        "import json, subprocess, signal, sys; "
        f"subprocess.Popen({mark.split()!r}, stdout=subprocess.DEVNULL); "
        "print(json.dumps({'said': 'ready'}), flush=True); signal.pause()"
    )
    wanted = manifest(target, engine, ())
    wanted["spec"]["containers"][0] |= {"command": ["python3", "-c", script], "args": []}
    ref = await helper.start(target, wanted)
    await helper.said(target, ref, 20)
    assert running(mark)
    await helper.stop(target, ref)

    async def ended():
        return not running(mark)

    await until(ended)


def running(command):
    wanted = command.replace(" ", "\0").encode() + b"\0"
    return any(_cmdline(entry) == wanted for entry in Path("/proc").iterdir() if entry.name.isdigit())


def _cmdline(entry):
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_targets_settings_are_laid_over_the_pod_name_by_name():
    base = {"hostPID": True, "containers": [{"name": "helper", "image": "a", "command": ["python3", "-m", "x"]}]}
    over = {
        "containers": [{"name": "helper", "command": ["/env/python"], "volumeMounts": [{"name": "env"}]}],
        "volumes": [{"name": "env", "hostPath": {"path": "/env"}}],
    }
    assert helper.merge(base, over) == {
        "hostPID": True,
        "containers": [{"name": "helper", "image": "a", "command": ["/env/python"], "volumeMounts": [{"name": "env"}]}],
        "volumes": [{"name": "env", "hostPath": {"path": "/env"}}],
    }


async def test_the_plan_shows_the_very_pod_that_is_started(target, engine):
    target.spec = TargetSpec(helper=HelperSpec(image="ours:1", namespace="elsewhere"))
    first, second = (
        helper.manifest(target, run_id="r1", purpose="link", argv=("link", "{}"), near=engine, seconds=9) for _ in "ab"
    )
    assert first == second
    assert json.loads(helper.call(first).body) == first
    assert first["metadata"]["namespace"] == "elsewhere"
    assert first["spec"]["containers"][0]["image"] == "ours:1"
    assert first["spec"]["nodeName"] == engine["spec"]["nodeName"]
