"""A load from pods of a real kubelet: exec with an open stdin, addresses of the pod network, and real deletions."""

from __future__ import annotations

import asyncio
import sys

import pytest
import vllm_cluster

from drillbook.errors import UnreachableError
from drillbook.load import engines
from drillbook.load.config import GeneratorConfig
from drillbook.load.process import GeneratorError
from drillbook.model.experiment import HelperSpec, LoadSpec, TargetSpec
from drillbook.model.request import Outcome, RequestRecord
from drillbook.targets import paths
from drillbook.targets.answers import UnavailableError
from drillbook.targets.target import open_target

pytestmark = pytest.mark.cluster

LABELS = {"app.kubernetes.io/part-of": "vllm-stack", "app.kubernetes.io/component": "serving-engine"}
SPEC = LoadSpec.model_validate(
    {"rate": "10/s", "engine": "locust", "workers": 2, "in": "pods", "output-tokens": 4, "prompts": "short"}
)
SECONDS = 120


@pytest.fixture
async def target(kubeconfig, kube, namespace):
    """One simulated engine in a pod, and its Service."""
    folders = vllm_cluster.environments(sys.executable)
    command = [sys.executable, "-m", "drillbook.sandbox.engine", "serve", "tiny", "--port", "8000"]
    container = vllm_cluster.on_host({"name": "vllm", "command": command}, folders)
    spec = {"containers": [container], "volumes": vllm_cluster.volumes(folders), "terminationGracePeriodSeconds": 1}
    async with asyncio.timeout(SECONDS):
        while True:
            try:
                await kube.create(
                    paths.pods(namespace), {"metadata": {"name": "engine", "labels": LABELS}, "spec": spec}
                )
                break
            except UnavailableError:  # older clusters take no pod before the account has its token
                await asyncio.sleep(0.5)
        service = {"selector": LABELS, "ports": [{"port": 80, "targetPort": 8000}]}
        await kube.create(paths.collection("v1", "services", namespace), {"metadata": {"name": "e"}, "spec": service})
        settings = HelperSpec(**vllm_cluster.helper_settings())
        asked = TargetSpec(stack="production-stack", namespace=namespace, helper=settings)
        async with await open_target(asked, kubeconfig=kubeconfig) as target:
            while True:
                try:
                    await target.endpoint()
                    break
                except UnreachableError:  # it does not serve yet
                    await asyncio.sleep(0.5)
            yield target


async def left(target):
    labels = "app.kubernetes.io/component=load"
    return await target.kube.list(paths.pods(target.namespace), labels=labels)


async def fleet_of(target, folder):
    pods = await engines.pods(SPEC, target, run_id="run-1", seconds=60)
    config = GeneratorConfig.of(SPEC, folder=folder, base_url=await target.endpoint(), model=await target.model())
    return engines.generator(SPEC, config, pods)


async def test_workers_in_pods_send_the_load_and_leave_nothing_behind(target, tmp_path):
    records = []
    async with await fleet_of(target, tmp_path) as fleet:
        assert len(await left(target)) == 3
        async for line in fleet:
            records += [line.event] if isinstance(line.event, RequestRecord) else []
            if len(records) >= 30:
                break
        await fleet.stop(drain=5)
        records += [line.event async for line in fleet if isinstance(line.event, RequestRecord)]
    assert fleet.failure is None
    assert {record.outcome for record in records} == {Outcome.OK}
    assert {record.id.rpartition("-")[0] for record in records} == {"load-1", "load-2"}
    assert not await left(target)


async def test_a_worker_whose_pod_is_deleted_ends_the_load(target, tmp_path):
    async with await fleet_of(target, tmp_path) as fleet:
        (victim,) = [pod["metadata"]["name"] for pod in await left(target) if pod["metadata"]["name"].endswith("-2")]
        await target.kube.delete(paths.pod(target.namespace, victim), grace=0)
        with pytest.raises(GeneratorError, match=f"load-2: .*{victim}"):
            async for _ in fleet:
                pass
    assert not await left(target)
