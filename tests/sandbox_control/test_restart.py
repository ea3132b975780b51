"""The process can die and come back: the store, the revisions and the port are as before."""

import asyncio
import contextlib
import socket
import sys

import aiohttp
import pytest

MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


@pytest.fixture
async def process(tmp_path, request):
    """Start the control plane as a process on one port; called again, start it anew."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = []

    async def start(*flags):
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "drillbook.sandbox.control",
            "--state-dir",
            str(tmp_path / "state"),
            "--port",
            str(port),
            *flags,
            stderr=asyncio.subprocess.PIPE,
        )
        running.append(child)
        async with asyncio.timeout(60), aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        if answer.status == 200:
                            return child, f"http://127.0.0.1:{port}"
                await asyncio.sleep(0.02)

    yield start
    for child in running:
        if child.returncode is None:
            child.kill()
        await child.wait()
        await child.stderr.read()
        child._transport.close()


async def test_everything_survives_a_kill_and_revisions_go_on(process, api, make_deployment):
    child, api.url = await process()
    await api.post(DEPLOYMENTS, make_deployment("engine", replicas=2))
    await api.post(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {
            "metadata": {"name": "drills.example.com"},
            "spec": {
                "group": "example.com",
                "names": {"plural": "drills", "kind": "Drill"},
                "versions": [{"name": "v1", "served": True, "storage": True}],
            },
        },
    )
    await api.post("/apis/example.com/v1/namespaces/default/drills", {"metadata": {"name": "one"}})

    async def two_pods():
        return len(await api.items("/api/v1/namespaces/default/pods")) == 2

    await api.until(two_pods)
    await api.post(MAPS, {"metadata": {"name": "short-lived"}})
    await api.delete(f"{MAPS}/short-lived")
    before = await api.get("/api/v1/pods")
    child.kill()
    await child.wait()
    _, api.url = await process()
    after = await api.get("/api/v1/pods")
    assert after["items"] == before["items"]
    assert int(after["metadata"]["resourceVersion"]) >= int(before["metadata"]["resourceVersion"])
    assert await api.exists("/apis/example.com/v1/namespaces/default/drills/one")
    made = await api.post(MAPS, {"metadata": {"name": "later"}})
    assert int(made["metadata"]["resourceVersion"]) > int(before["metadata"]["resourceVersion"])
    old = str(int(before["metadata"]["resourceVersion"]) - 5)
    async with api.watch("/api/v1/pods", resourceVersion=old) as following:
        assert (await following())["object"]["code"] == 410
    name = after["items"][0]["metadata"]["name"]
    await api.delete(f"/api/v1/namespaces/default/pods/{name}", gracePeriodSeconds=0)
    await api.until(two_pods)


async def test_sigterm_ends_it_at_once_even_with_open_watches(process, api):
    child, api.url = await process("--node-monitor-grace-period", "5")
    async with api.watch(MAPS, resourceVersion="0") as following:
        child.terminate()
        async with asyncio.timeout(60):
            assert await child.wait() == 0
        assert await following() is None


async def test_a_port_in_use_is_said_without_a_traceback(process, tmp_path):
    _, url = await process()
    port = url.rpartition(":")[2]
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "drillbook.sandbox.control",
        "--state-dir",
        str(tmp_path / "other"),
        "--port",
        port,
        stderr=asyncio.subprocess.PIPE,
    )
    _, words = await child.communicate()
    assert child.returncode == 1
    assert b"the control plane cannot start" in words
    assert b"Traceback" not in words
