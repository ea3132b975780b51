from __future__ import annotations

import asyncio

import pytest
from control_plane import kube, main_loop, namespace, own_plane, shared_plane
from own_sandbox import own_sandbox

from drillbook.errors import DrillbookError
from drillbook.model.experiment import TargetSpec
from drillbook.targets import paths, processes
from drillbook.targets.target import open_target

__all__ = ["kube", "main_loop", "namespace", "own_plane", "shared_plane"]


@pytest.fixture
async def target(kube, namespace, shared_plane):
    """A target on the control plane alone: the test makes its pods."""
    spec = TargetSpec(namespace=namespace, stack="production-stack")
    async with await open_target(spec, kubeconfig=shared_plane.kubeconfig) as target:
        yield target


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory):
    """A whole sandbox with two engines: real processes behind exec."""
    with own_sandbox(tmp_path_factory.mktemp("home"), "faults", replicas=2) as sandbox:
        yield sandbox


@pytest.fixture
async def simulated(sandbox):
    """The sandbox as a target, once all its engines are ready."""
    async with await open_target(TargetSpec(), sandbox=sandbox) as target, asyncio.timeout(90):
        while not await ready(target, 2) or not await whole(target):
            await asyncio.sleep(0.1)
        yield target


async def ready(target, count: int) -> bool:
    pods = await target.pods("engine")
    states = [{c["type"]: c["status"] for c in pod.get("status", {}).get("conditions", [])} for pod in pods]
    return [state.get("Ready") for state in states] == ["True"] * count


async def whole(target) -> bool:
    """Whether each engine has its core: one that an earlier test killed is Ready until the kubelet has looked."""
    try:
        seen = [await processes.look(target.kube, paths.pod_ref(pod), "vllm") for pod in await target.pods("engine")]
    except DrillbookError:  # the container is gone, or not there yet
        return False
    return all(processes.titled(each, "VLLM::EngineCore") for each in seen)
