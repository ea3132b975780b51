"""The watchdog as a pod of a real sandbox, over a runner that has no other."""

from __future__ import annotations

import asyncio
import sys
import uuid
from pathlib import Path

import pytest
from faulty_proxy import Answer, FaultyProxy

from drillbook.targets import paths
from drillbook.undo.record import find_records
from drillbook.undo.watchdog_pod import refusal

RUNNER = Path(__file__).parents[1] / "support" / "doomed_pod_runner.py"


class Scene:
    """A runner behind a proxy that can cut it off, and what the API server itself says."""

    def __init__(self, target, proxy, tmp_path):
        self.kube, self.namespace, self.proxy = target.kube, target.namespace, proxy
        self.run_id = f"run-{uuid.uuid4().hex[:6]}"
        self._folder, self._config = tmp_path, proxy.kubeconfig(tmp_path / "kubeconfig", target.namespace)
        self._place = f"{paths.collection('v1', 'configmaps', self.namespace)}/victim"

    async def begin(self):
        await self.kube.create(
            paths.collection("v1", "configmaps", self.namespace),
            {"metadata": {"name": "victim"}, "data": {"field": "old"}},
        )
        arguments = [str(self._config), self.namespace, self.run_id, str(self._folder)]
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(RUNNER), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            assert (await self.process.stdout.readline()).strip() == b"broken"
        assert await self.field() == "new"
        assert len(await self.watchdogs()) == 1

    async def end(self):
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self.kube.delete(self._place)

    async def field(self):
        return (await self.kube.get(self._place))["data"]["field"]

    async def watchdogs(self):
        labels = f"app.kubernetes.io/component=watchdog,drillbook.dev/run={self.run_id}"
        return await self.kube.list(paths.pods(self.namespace), labels=labels)

    async def all_is_as_before(self):
        async with asyncio.timeout(60):
            while await self.field() != "old" or await find_records(self.kube, [self.namespace]):
                await asyncio.sleep(0.1)
            while await self.watchdogs():
                await asyncio.sleep(0.1)


@pytest.fixture
async def scene(target, sandbox, tmp_path):
    proxy = FaultyProxy(sandbox.api_url)
    scene = Scene(target, proxy, tmp_path)
    await scene.begin()
    yield scene
    await scene.end()
    proxy.close()


async def test_a_killed_runner_s_fault_is_undone_by_the_pod_which_then_is_gone(scene):
    scene.process.kill()
    await scene.process.wait()
    await scene.all_is_as_before()


async def test_a_runner_that_is_cut_off_from_the_api_server_is_undone_by_the_pod(scene):
    scene.proxy.fault = lambda _method, _path: Answer(0)
    await scene.all_is_as_before()
    assert scene.process.returncode is None


@pytest.mark.whole
async def test_the_pod_of_a_run_that_ends_well_goes_with_it(scene):
    scene.process.stdin.write(b"goodbye\n")
    async with asyncio.timeout(60):
        assert await scene.process.wait() == 0
    await scene.all_is_as_before()


@pytest.mark.whole
async def test_a_watchdog_pod_that_is_evicted_leaves_nothing_broken_behind(scene):
    (pod,) = await scene.watchdogs()
    await scene.kube.delete(f"{paths.pods(scene.namespace)}/{pod['metadata']['name']}")
    await scene.all_is_as_before()


async def test_where_pods_may_not_be_made_the_reason_is_told(target):
    assert await refusal(target) == ""
    target.namespace = "no-such-namespace"
    assert "not allowed in namespace no-such-namespace" in await refusal(target)
