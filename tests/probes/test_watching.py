"""What the watch of a run tells, from a real control plane: over its restart, in older versions, and of victims."""

from __future__ import annotations

import asyncio

import pytest
from control_plane import make_namespace, make_pod, own_plane, shared_plane

from drillbook.model.events import EvidenceKept, Noted, ObjectChanged
from drillbook.model.experiment import TargetSpec
from drillbook.model.undo import ObjectRef
from drillbook.probes.collectors.evidence import EvidenceKeeper
from drillbook.probes.collectors.kinds import KINDS
from drillbook.probes.collectors.kubernetes import KubernetesWatcher
from drillbook.targets import paths
from drillbook.targets.answers import ForbiddenError, NotFoundError
from drillbook.targets.kube import Kube
from drillbook.targets.stack import stack_named
from drillbook.targets.target import Target
from drillbook.targets.watching import Change

__all__ = ["own_plane", "shared_plane"]

NODE = {"metadata": {"name": "gpu-node-a"}, "status": {"allocatable": {"nvidia.com/gpu": "8"}}}
OTHER = {"metadata": {"name": "gpu-node-z"}}
AUTOSCALER = {
    "metadata": {"name": "engines"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "e"},
        "minReplicas": 1,
        "maxReplicas": 4,
        "metrics": [],
    },
}


class Log(list):
    async def until(self, wanted):
        async with asyncio.timeout(60):
            while not any(map(wanted, self)):
                await asyncio.sleep(0.02)

    def of(self, kind):
        return [event for event in self if isinstance(event, ObjectChanged) and event.kind == kind]


def target_of(kube, namespace="llm"):
    return Target(kube, TargetSpec(namespace=namespace), namespace, stack_named("production-stack"))


@pytest.fixture
async def watched(own_plane):
    async with await Kube.from_kubeconfig(own_plane.kubeconfig) as kube:
        await make_namespace(kube)
        await kube.create("/api/v1/nodes", NODE)
        await kube.create("/api/v1/nodes", OTHER)
        await make_pod(kube, "e0")
        await kube.create(paths.collection("autoscaling/v2", "horizontalpodautoscalers", "llm"), AUTOSCALER)
        log = Log()
        watcher = KubernetesWatcher(kube, target_of(kube), log.append)
        tasks = [asyncio.create_task(watcher.follow(kind)) for kind in KINDS]
        await asyncio.wait_for(watcher.listed.wait(), 30)
        yield own_plane, kube, log
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_nodes_that_serve_and_autoscalers_are_told_and_other_nodes_are_not(watched):
    _, kube, log = watched
    await log.until(lambda event: isinstance(event, ObjectChanged) and event.kind == "Node")
    assert {event.name for event in log.of("Node")} == {"gpu-node-a"}
    assert log.of("Node")[0].summary["gpus"] == 8
    (autoscaler,) = log.of("HorizontalPodAutoscaler")
    assert (autoscaler.summary["min"], autoscaler.summary["max"]) == (1, 4)
    assert autoscaler.summary["target"] == "deployment/e"
    await kube.patch("/api/v1/nodes/gpu-node-a", {"spec": {"unschedulable": True}})
    await log.until(lambda event: isinstance(event, ObjectChanged) and event.summary.get("unschedulable"))


async def test_a_restart_of_the_api_server_costs_no_change_and_tells_none_twice(watched):
    plane, _, log = watched
    await asyncio.to_thread(plane.kill)
    await asyncio.to_thread(plane.start)
    async with await Kube.from_kubeconfig(plane.kubeconfig) as again:
        await make_pod(again, "e1")
        await again.delete(f"{paths.pods('llm')}/e0", grace=0)
    await log.until(lambda event: isinstance(event, ObjectChanged) and (event.name, event.change) == ("e0", "deleted"))
    await log.until(
        lambda event: isinstance(event, ObjectChanged) and event.name == "e1" and event.summary.get("ready")
    )
    told = [(event.name, event.resource_version) for event in log.of("Pod") if event.change != "deleted"]
    assert len(told) == len(set(told))


class Older:
    """An API server that knows less, and lets this account see less."""

    context = "older"

    def __init__(self, refusals):
        self.refusals, self.asked = refusals, []

    async def watch(self, path):
        self.asked.append(path)
        if path in self.refusals:
            raise self.refusals[path]
        yield Change("BOOKMARK", {"metadata": {"resourceVersion": "1"}})
        await asyncio.Event().wait()


async def test_an_older_cluster_is_watched_in_its_own_versions_and_without_what_it_refuses():
    newest = "/apis/autoscaling/v2/namespaces/llm/horizontalpodautoscalers"
    slices = "/apis/discovery.k8s.io/v1/namespaces/llm/endpointslices"
    older = Older(
        {
            newest: NotFoundError("none such"),
            slices: NotFoundError("none such"),
            "/api/v1/nodes": ForbiddenError("nodes are not for you"),
        }
    )
    log = Log()
    watcher = KubernetesWatcher(older, target_of(older), log.append)
    tasks = [asyncio.create_task(watcher.follow(kind)) for kind in KINDS]
    await asyncio.wait_for(watcher.listed.wait(), 10)
    assert newest.replace("v2", "v1") in older.asked
    assert slices.replace("/v1/", "/v1beta1/") in older.asked
    assert [event.text for event in log if isinstance(event, Noted)] == ["not watched: nodes are not for you"]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_every_run_needs_and_is_refused_ends_the_watch():
    older = Older({"/api/v1/namespaces/llm/pods": ForbiddenError("pods are not for you")})
    with pytest.raises(ForbiddenError):
        await KubernetesWatcher(older, target_of(older), lambda _: None).follow("Pod")


class Logs:
    """The part of ``Kube`` that keeping evidence takes."""

    def __init__(self, pod):
        self.pod, self.text = pod, "first words\n"

    async def find(self, _path):
        return self.pod

    async def logs(self, _namespace, pod, container, *, tail, previous):
        if not self.text:
            raise NotFoundError("gone")
        return f"{pod}/{container}{' before' if previous else ''}: {self.text}"


def victim(**meta):
    statuses = [{"name": "vllm", "restartCount": meta.pop("restarts", 0)}]
    return {
        "metadata": {"name": "e0", "namespace": "llm", "uid": "u", **meta},
        "status": {"containerStatuses": statuses},
    }


async def test_a_victim_s_log_is_kept_before_the_fault_and_again_when_it_ends(tmp_path):
    kube, told = Logs(victim()), []
    keeper = EvidenceKeeper(kube, tmp_path, told.append)
    ref = ObjectRef(api_version="v1", kind="Pod", plural="pods", namespace="llm", name="e0", uid="u")
    await keeper.before([ref])
    assert (tmp_path / "evidence" / "e0" / "vllm.log").read_text() == "e0/vllm: first words\n"
    task = asyncio.create_task(keeper.run())
    keeper.notice(victim())
    kube.text = "last words\n"
    keeper.notice(victim(deletionTimestamp="2026-01-01T00:00:00Z"))
    async with asyncio.timeout(10):
        while "last" not in (tmp_path / "evidence" / "e0" / "vllm.log").read_text():
            await asyncio.sleep(0.01)
    kube.text = ""
    keeper.notice(victim(deletionTimestamp="2026-01-01T00:00:00Z", restarts=1))
    await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "last" in (tmp_path / "evidence" / "e0" / "vllm.log").read_text(), (
        "a log that has gone leaves the one before"
    )
    assert [event.path for event in told if isinstance(event, EvidenceKept)] == [
        "evidence/e0/pod.json",
        "evidence/e0/vllm.log",
    ]


async def test_a_restarted_container_s_former_log_is_kept(tmp_path):
    keeper = EvidenceKeeper(Logs(victim(restarts=1)), tmp_path, lambda _: None)
    await keeper.keep(victim(restarts=1))
    assert (tmp_path / "evidence" / "e0" / "vllm.previous.log").read_text().startswith("e0/vllm before")
