"""A whole sandbox, as its users start and lose it. Root: pods have namespaces, and nothing may be left of them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from own_sandbox import own_home

from drillbook import clock
from drillbook.errors import PreflightError, UnreachableError, UsageError
from drillbook.sandbox import config, lifecycle, processes
from drillbook.sandbox.kube import Kube, fetch

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.asyncio(loop_scope="module"),
]
ENGINES = "/api/v1/namespaces/llm/pods?labelSelector=app.kubernetes.io/component%3Dserving-engine"


def traces(folder: Path) -> list[str]:
    """What a sandbox of this state directory still has on this machine."""
    tag = config.tag_of(folder)
    found = [str(pid) for pid in processes.descendants(processes.marked(folder))]
    found += [entry.name for entry in Path("/sys/class/net").iterdir() if entry.name == f"dbk{tag}"]
    return found + [str(path) for path in (folder, Path("/dev/shm", f"drillbook-{tag}")) if path.exists()]


async def eventually(ask, seconds: float = 60.0):
    """Poll until ``ask()`` is true, and return it."""
    end = clock.monotonic() + seconds
    while True:
        found = await ask()
        if found or clock.monotonic() > end:
            assert found, "it did not happen in time"
            return found
        await asyncio.sleep(0.03)


async def ready_engines(sandbox: lifecycle.Sandbox) -> dict[str, dict]:
    pods = await Kube(sandbox.api_url).items(ENGINES)
    return {
        pod["metadata"]["name"]: pod
        for pod in pods
        if any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions", []))
        and "deletionTimestamp" not in pod["metadata"]
    }


def complete(sandbox: lifecycle.Sandbox) -> str:
    body = {"model": "tiny-llama", "prompt": "Once", "max_tokens": 4}
    request = urllib.request.Request(
        f"{sandbox.endpoint}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=2) as response:
            return json.load(response)["choices"][0]["text"]
    except OSError:
        return ""


async def served(sandbox: lifecycle.Sandbox) -> bool:
    """Whether requests are answered, sooner or later.

    The real router never sees a forced deletion (it acts on a pod's deletionTimestamp, not on its DELETED event) and
    sends one request in three to the dead address, until its own health checks have failed three times.
    """
    return bool(await eventually(lambda: asyncio.to_thread(complete, sandbox)))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with own_home(tmp_path_factory.mktemp("home")) as folder:
        yield folder
        for name in lifecycle.names():
            asyncio.run(lifecycle.down(name))


@pytest.fixture(scope="module")
def sandbox(home):
    found = asyncio.run(lifecycle.up("life"))
    yield found
    asyncio.run(lifecycle.down("life"))
    assert not traces(found.state_dir)


async def test_three_engines_answer_through_the_router(sandbox):
    assert len(await ready_engines(sandbox)) == 3
    assert await served(sandbox)


async def test_up_of_a_sandbox_that_is_up_changes_nothing(sandbox):
    before = set(processes.marked(sandbox.state_dir))
    again = await lifecycle.up("life")
    assert again == sandbox
    assert before <= set(processes.marked(sandbox.state_dir)) | before


async def test_a_force_deleted_pod_is_replaced_and_its_processes_end(sandbox):
    engines = await ready_engines(sandbox)
    victim = sorted(engines)[0]
    address = engines[victim]["status"]["podIP"]
    await asyncio.to_thread(
        fetch, f"{sandbox.api_url}/api/v1/namespaces/llm/pods/{victim}", "DELETE", {"gracePeriodSeconds": 0}
    )

    async def replaced():
        names = await ready_engines(sandbox)
        return len(names) == 3 and victim not in names

    await eventually(replaced)

    async def silent():
        pods = await Kube(sandbox.api_url).items(ENGINES)
        if any(pod["status"].get("podIP") == address for pod in pods):
            return True  # the address is in use again, by the replacement
        try:
            await asyncio.to_thread(fetch, f"http://{address}:8000/health", timeout=0.3)
        except UnreachableError:
            return True
        return False

    await eventually(silent)


async def test_the_control_plane_can_die_while_users_are_served_and_comes_back_with_its_store(sandbox):
    before = {name: pod["metadata"]["uid"] for name, pod in (await ready_engines(sandbox)).items()}
    await lifecycle.control_down("life")
    assert await served(sandbox)
    assert (await lifecycle.status("life"))["state"] == "degraded"
    await lifecycle.control_up("life")
    after = {name: pod["metadata"]["uid"] for name, pod in (await ready_engines(sandbox)).items()}
    assert after == before


async def test_a_new_agent_takes_over_running_pods_without_a_restart(sandbox):
    before = await ready_engines(sandbox)
    agent = int((sandbox.state_dir / "node" / "agent.lock").read_text())
    os.kill(agent, signal.SIGKILL)
    await eventually(lambda: asyncio.to_thread(lambda: not processes.is_alive(agent)))
    lifecycle.start_node(config.load(sandbox.state_dir))
    victim = sorted(before)[0]
    await asyncio.to_thread(fetch, f"{sandbox.api_url}/api/v1/namespaces/llm/pods/{victim}", "DELETE", {})

    async def replaced():
        names = await ready_engines(sandbox)
        return names if len(names) == 3 and victim not in names else None

    after = await eventually(replaced)
    for name in set(before) & set(after):
        assert after[name]["metadata"]["uid"] == before[name]["metadata"]["uid"]
        assert after[name]["status"]["containerStatuses"][0]["restartCount"] == 0


async def test_a_runtime_whose_agent_is_gone_is_still_found(sandbox):
    runtime = int((sandbox.state_dir / "node" / "runtime.lock").read_text())
    assert runtime in processes.marked(sandbox.state_dir)


async def test_containers_of_a_killed_runtime_are_started_again_and_say_so(sandbox):
    os.kill(int((sandbox.state_dir / "node" / "runtime.lock").read_text()), signal.SIGKILL)

    async def restarted():
        engines = (await ready_engines(sandbox)).values()
        rows = [pod["status"]["containerStatuses"][0] for pod in engines]
        return rows if len(rows) == 3 and all(row["restartCount"] >= 1 for row in rows) else None

    rows = await eventually(restarted)
    assert all(row["lastState"]["terminated"]["exitCode"] == 255 for row in rows)


async def test_kubectl_exec_enters_one_container_and_sees_no_other(sandbox):
    engine = sorted(await ready_engines(sandbox))[0]
    command = ["kubectl", "--kubeconfig", str(sandbox.kubeconfig), "exec", engine, "--", "ps", "-eo", "pid,args"]
    out = (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=True)).stdout
    assert "VLLM::EngineCore" in out
    assert "router" not in out
    assert "drillbook.sandbox" not in out


async def test_two_sandboxes_live_side_by_side_and_one_going_leaves_the_other(sandbox):
    other = await lifecycle.up("second", replicas=1)
    assert config.load(other.state_dir).network != config.load(sandbox.state_dir).network
    await lifecycle.down("second")
    assert not traces(other.state_dir)
    assert await served(sandbox)


async def test_of_a_sandbox_killed_outright_up_and_down_find_and_remove_everything(home):
    killed = await lifecycle.up("killed", replicas=1)
    for pid in processes.descendants(processes.marked(killed.state_dir)):
        if processes.is_alive(pid):
            os.kill(pid, signal.SIGKILL)
    assert (await lifecycle.status("killed"))["state"] == "dead"
    assert lifecycle.find("killed") is None
    again = await lifecycle.up("killed", replicas=1)
    assert await served(again)
    await lifecycle.down("killed")
    assert not traces(again.state_dir)
    assert await lifecycle.down("killed") == []


async def test_names_and_engines_that_cannot_be_are_refused_before_anything_starts(home):
    with pytest.raises(UsageError, match="cannot name a sandbox"):
        await lifecycle.up("../x")
    with pytest.raises(UsageError, match="not known"):
        await lifecycle.up("x", engine="sglang")
    with pytest.raises(PreflightError, match="Python"):
        await lifecycle.up("x", engine="vllm", vllm_python="/nowhere/python")
    assert "x" not in lifecycle.names()


async def test_a_sandbox_without_engines_is_a_cluster_alone_whose_control_plane_the_command_line_stops(home):
    def drillbook(*words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "drillbook", "sandbox", *words, "--name", "bare"]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    assert "is not up" in drillbook("control-plane", "stop", code=4)
    drillbook("up", "--replicas", "0")
    try:
        assert "is up already" in drillbook("up", "--replicas", "0")
        found = lifecycle.find("bare")
        assert await Kube(found.api_url).items(ENGINES) == []
        assert "is gone" in drillbook("control-plane", "stop")
        assert not await Kube(found.api_url).is_ready()
        assert "answers again" in drillbook("control-plane", "start")
        assert await Kube(found.api_url).is_ready()
    finally:
        drillbook("down")
