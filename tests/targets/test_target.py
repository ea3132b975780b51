from __future__ import annotations

import contextlib

import control_plane as planes
import pytest
from aiohttp import web

from drillbook.errors import PreflightError, UnreachableError, UnsupportedError, UsageError
from drillbook.model.experiment import TargetSpec
from drillbook.targets import accelerators, labels
from drillbook.targets.stack import stack_named, stacks
from drillbook.targets.target import open_target


@contextlib.asynccontextmanager
async def opened(plane, namespace: str, **spec):
    async with await open_target(TargetSpec(namespace=namespace, **spec), kubeconfig=plane.kubeconfig) as target:
        yield target


@contextlib.asynccontextmanager
async def served(models: object, status: int = 200):
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(models, status=status)

    app = web.Application()
    app.router.add_get("/v1/models", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("name", stacks())
def test_each_stacks_own_selectors_are_selectors_and_name_an_engine(name):
    stack = stacks()[name]
    assert "engine" in stack.roles
    for selector in [stack.detect, *(each for role in stack.roles.values() for each in role.selectors)]:
        labels.matches(selector, {})


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ("", True), ("app=vllm", True), ("app==vllm", True), ("app!=vllm", False), ("app in (a, vllm)", True),
        ("app notin (a,b)", True), ("tier", True), ("!tier", False), ("!gone", True), ("app=vllm,tier=x", False),
        ("app in (vllm),tier in (gpu)", True), ("gone!=x", True), ("gone notin (x)", True),
    ],
)  # fmt: skip
def test_a_selector_is_judged_as_the_api_server_judges_it(selector, chosen):
    assert labels.matches(selector, {"app": "vllm", "tier": "gpu"}) is chosen


def test_what_is_no_selector_is_said_to_be_none():
    with pytest.raises(UsageError, match="label selector"):
        labels.matches("app > 3", {})


def test_an_unknown_stack_is_named_with_those_that_exist():
    with pytest.raises(UsageError) as caught:
        stack_named("prodution-stack")
    assert "production-stack" in caught.value.hint


async def test_the_stack_is_found_by_the_pods_labels(shared_plane, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)
    async with opened(shared_plane, namespace) as target:
        assert target.stack.name == "production-stack"
        assert [pod["metadata"]["name"] for pod in await target.pods("engine")] == ["engine-0"]
        assert await target.pods("router") == []
        assert target.simulated, "told by the API server's version"


async def test_a_stack_that_nobody_described_is_found_by_its_gpus(shared_plane, kube, namespace):
    await planes.make_pod(kube, "mine-0", namespace, labels={"app": "mine"}, gpus=2)
    await planes.make_pod(kube, "other-0", namespace, labels={"app": "db"}, gpus=0)
    await kube.patch(f"/api/v1/namespaces/{namespace}/pods/other-0", {"metadata": {"labels": {"app": "db2"}}})
    async with opened(shared_plane, namespace) as target:
        assert target.stack.name == "other"
        assert "mine-0" in [pod["metadata"]["name"] for pod in await target.pods("engine")]
        with pytest.raises(PreflightError, match="router"):
            await target.pods("router")


async def test_the_experiments_selectors_win(shared_plane, kube, namespace):
    await planes.make_pod(kube, "a", namespace)
    await planes.make_pod(kube, "b", namespace, labels={**planes.LABELS, "canary": "yes"})
    async with opened(shared_plane, namespace, selectors={"engine": "canary=yes"}) as target:
        assert [pod["metadata"]["name"] for pod in await target.pods("engine")] == ["b"]
        pods = await target.kube.list(f"/api/v1/namespaces/{namespace}/pods")
        assert [target.role_of(pod) for pod in pods] == ["", "engine"]


async def test_a_namespace_without_vllm_is_refused_before_anything_else(shared_plane, namespace):
    with pytest.raises(PreflightError, match=namespace):
        async with opened(shared_plane, namespace):
            pass


async def test_a_sandbox_that_is_not_up_is_told_apart_from_a_context(shared_plane):
    with pytest.raises(PreflightError, match="sandbox is not running"):
        await open_target(TargetSpec(context="sandbox"), kubeconfig=shared_plane.kubeconfig)


async def test_the_container_is_the_stacks_or_the_one_with_the_gpu(shared_plane, kube, namespace):
    pod = await planes.make_pod(kube, "engine-0", namespace)
    async with opened(shared_plane, namespace) as target:
        assert target.container(pod, "engine") == "vllm"
        side = {"name": "side", "image": "x"}
        gpu = {"name": "server", "image": "x", "resources": {"limits": {"amd.com/gpu": "1"}}}
        assert target.container({**pod, "spec": {"containers": [side, gpu]}}, "engine") == "server"
        with pytest.raises(UnsupportedError, match="several containers"):
            target.container({**pod, "spec": {"containers": [side, {**side, "name": "other"}]}}, "engine")


def test_gpus_are_counted_by_device_and_by_slice():
    def pod(**limits: str) -> dict:
        return {"spec": {"containers": [{"name": "a", "resources": {"limits": limits}}, {"name": "b"}]}}

    assert accelerators.count(pod(**{"nvidia.com/gpu": "8", "cpu": "4"})) == 8
    assert accelerators.count(pod(**{"nvidia.com/mig-1g.10gb": "2"})) == 2
    assert accelerators.count(pod(memory="1Gi")) == 0


async def test_the_endpoint_that_the_experiment_gives_is_asked_for_its_model(shared_plane, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)
    async with served({"data": [{"id": "tiny"}]}) as url, opened(shared_plane, namespace, endpoint=f"{url}/") as target:
        assert (await target.endpoint(), await target.model()) == (url, "tiny")


async def test_the_endpoint_is_found_through_the_service_in_front(shared_plane, kube, namespace):
    await planes.make_pod(kube, "router-0", namespace, labels=planes.LABELS | {"app.kubernetes.io/component": "router"})
    async with served({"data": [{"id": "tiny"}]}) as url:
        port = int(url.rpartition(":")[2])
        made = await kube.create(
            f"/api/v1/namespaces/{namespace}/services",
            {
                "metadata": {"name": "router"},
                "spec": {"selector": {"app.kubernetes.io/component": "router"}, "ports": [{"port": port}]},
            },
        )
        status = {"status": {"loadBalancer": {"ingress": [{"ip": "127.0.0.1"}]}}}
        await kube.patch(f"/api/v1/namespaces/{namespace}/services/{made['metadata']['name']}/status", status)
        async with opened(shared_plane, namespace) as target:
            assert await target.endpoint() == url


async def test_an_endpoint_that_does_not_answer_says_how_to_give_another(shared_plane, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace)
    async with opened(shared_plane, namespace) as target:
        with pytest.raises(UnreachableError, match="no Service") as caught:
            await target.endpoint()
        assert "target.endpoint" in caught.value.hint
    async with opened(shared_plane, namespace, endpoint="http://127.0.0.1:9") as target:
        with pytest.raises(UnreachableError, match=r"127\.0\.0\.1:9"):
            await target.endpoint()
    async with served({"error": "x"}) as url, opened(shared_plane, namespace, endpoint=url) as target:
        with pytest.raises(UnreachableError, match="OpenAI"):
            await target.endpoint()


async def test_the_facts_tell_versions_and_sizes(shared_plane, kube, namespace):
    await planes.make_pod(kube, "engine-0", namespace, gpus=2)
    await planes.make_pod(kube, "engine-1", namespace, gpus=2)
    async with opened(shared_plane, namespace) as target:
        facts = await target.facts()
    assert facts["engine pods"] == "2"
    assert facts["engine GPUs"] == "4"
    assert facts["engine image"] == "vllm/vllm-openai:v0.32.0"
    assert facts["kubernetes"].startswith("v1.")
