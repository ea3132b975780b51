"""Fleets: small ones in every run of the tests, large ones where ``DRILLBOOK_LONG`` is set."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import pytest

from drillbook import clock
from drillbook.sandbox import fleet, lifecycle, stack
from drillbook.sandbox.kube import Kube as PlainKube
from drillbook.targets.kube import Kube
from drillbook.targets.target import TargetSpec, open_target

LONG = bool(os.environ.get("DRILLBOOK_LONG"))
PODS = 10_000 if LONG else 300
ENGINES = 200 if LONG else 14
LIST = """
import asyncio, json, resource, sys, time
from drillbook.targets.kube import Kube
async def main():
    async with await Kube.from_kubeconfig(sys.argv[1]) as kube:
        begun = time.process_time()
        pods = await kube.list("/api/v1/namespaces/fleet/pods", labels="model=fleet")
        seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"pods": len(pods), "seconds": seconds, "peak": peak}))
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def sandbox():
    yield asyncio.run(lifecycle.up("scale", replicas=1))
    asyncio.run(lifecycle.down("scale"))


@pytest.fixture(scope="module")
def large(sandbox):
    """The sandbox with a fleet of hollow pods that are all available."""
    command = [sys.executable, "-m", "drillbook", "sandbox", "hollow", str(PODS), "--name", "scale"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert f"{PODS} hollow pods are available" in told.stdout
    return sandbox


async def test_hollow_pods_are_ready_without_a_process_or_an_address(large):
    async with await Kube.from_kubeconfig(large.kubeconfig) as kube:
        pods = await kube.list("/api/v1/namespaces/fleet/pods")
        nodes = await kube.list("/api/v1/nodes", labels="drillbook.io/hollow=true")
    assert len(pods) == PODS
    assert {pod["spec"]["nodeName"] for pod in pods} <= {node["metadata"]["name"] for node in nodes}
    assert all(pod["status"]["containerStatuses"][0]["ready"] for pod in pods)
    assert not any("podIP" in pod["status"] for pod in pods)


async def test_a_killed_hollow_pod_is_replaced(large):
    async with await Kube.from_kubeconfig(large.kubeconfig) as kube:
        victim = (await kube.get("/api/v1/namespaces/fleet/pods", limit="1"))["items"][0]["metadata"]["name"]
        await kube.delete(f"/api/v1/namespaces/fleet/pods/{victim}")
        deadline = clock.monotonic() + 90
        while True:
            pods = await kube.list("/api/v1/namespaces/fleet/pods", fields="status.phase=Running")
            if len(pods) == PODS and victim not in {pod["metadata"]["name"] for pod in pods}:
                return
            assert clock.monotonic() < deadline, f"{victim} has no replacement: {len(pods)} pods are running"
            await asyncio.sleep(0.05)


async def test_a_plan_looks_at_a_fleet_once(large, monkeypatch):
    looks = []
    listed = Kube.list_at

    async def count(self, path, **selectors):
        looks.append(path)
        return await listed(self, path, **selectors)

    monkeypatch.setattr(Kube, "list_at", count)
    spec = TargetSpec(stack="production-stack", namespace="fleet")
    async with await open_target(spec, kubeconfig=large.kubeconfig) as target:
        with target.one_look():
            engines = await target.pods("engine")
            assert len(await target.everything()) == len(engines) == PODS
            assert await target.pods("router") == []
        assert len(looks) == 1
        await target.pods("engine")
        assert len(looks) > 1


def read(fleet_of):
    """A program of its own reads the fleet: how many pods, in how much processor time, MiB at most."""
    command = [sys.executable, "-c", LIST, str(fleet_of.kubeconfig)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def test_a_fleet_is_read_whole(large):
    assert read(large)["pods"] == PODS


@pytest.mark.figure
def test_a_fleet_is_read_page_by_page_in_little_time_and_memory(large):
    seen = read(large)
    assert seen["peak"] < 300
    assert seen["seconds"] < 2


def test_a_fleet_changes_its_size_and_goes(large):
    for pods in (20, 0, 0):
        asyncio.run(fleet.resize(large.api_url, pods))
        deadline = clock.monotonic() + 60  # what was surplus ends, and is not counted meanwhile
        while (there := len(asyncio.run(PlainKube(large.api_url).items("/api/v1/namespaces/fleet/pods")))) != pods:
            assert clock.monotonic() < deadline, f"{there} pods instead of {pods}"


def test_more_engines_than_the_usual_nodes_have_gpus_come_up():
    sandbox = asyncio.run(lifecycle.up("many", replicas=ENGINES))
    try:
        assert asyncio.run(stack.missing(PlainKube(sandbox.api_url))) == []
        assert len(asyncio.run(PlainKube(sandbox.api_url).items("/api/v1/nodes"))) > 2
    finally:
        asyncio.run(lifecycle.down("many"))
