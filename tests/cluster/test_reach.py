"""What reaches further than the API, on a real kubelet: helper pods, the watchdog's pod, and the rights of ``deploy/``.

The victim is a pod whose process bears an engine's title; nothing of vLLM is needed.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import uuid

import fault_roles
import pytest
import vllm_cluster
import yaml

from drillbook import clock
from drillbook.experiments.plan import BASE_PERMISSIONS, missing
from drillbook.faults import process_hang
from drillbook.faults.fault import Draw
from drillbook.model.experiment import HelperSpec, TargetSpec
from drillbook.model.undo import EntryState, FieldChange, RestoreFields, UndoEntry
from drillbook.targets import paths, processes
from drillbook.targets.answers import UnavailableError
from drillbook.targets.target import open_target
from drillbook.undo import lease
from drillbook.undo.operations import carry_out
from drillbook.undo.record import UndoStore, find_records
from drillbook.undo.watchdog_pod import WatchdogPod, refusal

pytestmark = pytest.mark.cluster

CORE = "VLLM::EngineCore"
LABELS = {"app.kubernetes.io/part-of": "vllm-stack", "app.kubernetes.io/component": "serving-engine"}
READY_SECONDS = 90


@pytest.fixture
async def target(kubeconfig, kube, namespace):
    """A target of one pod, whose container has a process of the engine's title beside its first."""
    folders = vllm_cluster.environments()
    # a title without words after it, as setproctitle gives one; the pipe has a writer, and so never ends
    command = ["bash", "-c", f"mkfifo /tmp/pipe; (exec -a {CORE} cat <>/tmp/pipe) & wait"]
    container = vllm_cluster.on_host({"name": "vllm", "command": command}, folders)
    spec = {"containers": [container], "volumes": vllm_cluster.volumes(folders), "terminationGracePeriodSeconds": 1}
    pod = {"metadata": {"name": "engine-0", "labels": LABELS}, "spec": spec}

    async def created():
        try:
            return await kube.create(paths.pods(namespace), pod)
        except UnavailableError:  # older clusters take no pod before the account has its token
            return None

    await until(created)
    settings = HelperSpec(**vllm_cluster.helper_settings())
    asked = TargetSpec(stack="production-stack", namespace=namespace, helper=settings)
    async with await open_target(asked, kubeconfig=kubeconfig) as target:
        await until(lambda: runs(target))
        yield target


async def until(look, seconds=READY_SECONDS):
    async with asyncio.timeout(seconds):
        while not await look():
            await asyncio.sleep(0.2)


async def runs(target):
    (pod,) = await target.pods("engine")
    return pod.get("status", {}).get("phase") == "Running" and await states(target)


async def states(target):
    (pod,) = await target.pods("engine")
    there = await processes.look(target.kube, paths.pod_ref(pod), "vllm")
    return [each.state for each in processes.titled(there, CORE)]


class Recorded(list):
    async def __call__(self, operations) -> None:
        self += operations


async def struck(target):
    """The engine stopped by a helper pod, and what undoes it."""
    step = process_hang.FAULT.step.model_validate({"fault": "process-hang", "role": "engine", "via": "helper"})
    plan, record = await process_hang.FAULT.plan(step, 0, target, Draw(1, uuid.uuid4().hex[:6])), Recorded()
    injected = await process_hang.FAULT.inject(plan, target, record)
    assert (await process_hang.FAULT.verify(plan, injected, target, 10)).bit
    assert await states(target) == ["T"]
    return plan, record


async def undone(target, record):
    outcomes = [await carry_out(target.kube, each, seconds=90) for each in reversed(record)]
    labels = "app.kubernetes.io/managed-by=drillbook"
    assert await target.kube.list(paths.pods(target.namespace), labels=labels) == []
    assert "T" not in await states(target)
    return [outcome.state for outcome in outcomes]


async def test_a_helper_pod_stops_a_process_from_outside_and_its_undo_leaves_nothing(target):
    _, record = await struck(target)
    assert await undone(target, record) == [EntryState.UNDONE, EntryState.UNDONE]


async def test_what_a_killed_helper_left_is_found_by_another(target):
    plan, record = await struck(target)
    (manifest,) = plan.options["helpers"]
    name = manifest["metadata"]["name"]
    await target.kube.delete(f"{paths.pods(target.namespace)}/{name}", grace=0)
    assert await undone(target, record) == [EntryState.GONE, EntryState.UNDONE]


kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


def apply(kubeconfig, namespace, folder, *components):
    """Apply ``deploy/base`` with these components."""
    shutil.copytree(vllm_cluster.REPOSITORY / "deploy", folder, dirs_exist_ok=True)
    parts = {"resources": ["../base"], "components": [f"../{each}" for each in components], "namespace": namespace}
    (folder / "all").mkdir()
    (folder / "all" / "kustomization.yaml").write_text(yaml.safe_dump(parts), encoding="utf-8")
    built = subprocess.run(["kubectl", "kustomize", str(folder / "all")], check=True, capture_output=True).stdout
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "apply", "-f", "-"]
    subprocess.run(command, input=built, check=True, capture_output=True)


@kubectl
async def test_a_run_whose_runner_is_gone_is_undone_by_the_watchdogs_pod_with_its_own_rights(
    target, kubeconfig, tmp_path
):
    assert "drillbook-watchdog" in await refusal(target), "without its account it is not allowed"
    await asyncio.to_thread(apply, kubeconfig, target.namespace, tmp_path / "deploy", "watchdog")
    assert await refusal(target) == ""
    kube, namespace = target.kube, target.namespace
    maps = paths.collection("v1", "configmaps", namespace)
    held = await lease.acquire(kube, namespace, "run-1", seconds=3.0)
    store = await UndoStore.create(kube, namespace, "run-1", "A title", tmp_path, heartbeat=3.0)
    await WatchdogPod.start(target, store, settle=0.5)
    (pod,) = await target.pods("engine")
    change = FieldChange(path=("metadata", "labels", "broken"), existed=False, before=None, wrote="yes")
    undo = RestoreFields(object=paths.pod_ref(pod), fields=(change,))
    await store.arm(UndoEntry(id="0-first", fault="x", operations=(undo,)))
    await kube.patch(paths.of(undo.object), {"metadata": {"labels": {"broken": "yes"}}})
    held._task.cancel()  # as a runner that is gone: nobody renews the Lease any more
    silent = clock.monotonic()

    async def mended():
        return "broken" not in (await kube.get(paths.of(undo.object)))["metadata"]["labels"]

    await until(mended)
    sys.stdout.write(f"undone {clock.monotonic() - silent:.1f} s after the last heartbeat\n")

    async def gone():
        pods = await kube.list(paths.pods(namespace), labels="app.kubernetes.io/component=watchdog")
        return not pods and not await find_records(kube, [namespace])

    await until(gone)
    assert await kube.find(f"{maps}/drillbook-undo-run-1") is None


@kubectl
async def test_each_class_of_faults_gets_the_rights_that_its_plans_ask_for_and_no_others(target, kubeconfig, tmp_path):
    folder = tmp_path / "deploy"
    await asyncio.to_thread(apply, kubeconfig, target.namespace, folder, "faults/processes", "faults/helpers")
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "create", "token", "drillbook", "-n", target.namespace]
    asked = subprocess.run(command, check=True, capture_output=True, text=True)
    config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": asked.stdout.strip()}
    place = tmp_path / "kubeconfig"
    place.write_text(yaml.safe_dump(config), encoding="utf-8")
    async with await open_target(target.spec, kubeconfig=place) as limited:
        assert await missing(BASE_PERMISSIONS, limited) == []
        for name in ("processes", "helpers"):
            needs = sorted(await fault_roles.asked(fault_roles.CLASSES[name], target), key=str)
            assert await missing(needs, limited) == []
        _, record = await struck(limited)
        assert await undone(limited, record) == [EntryState.UNDONE, EntryState.UNDONE]
        pods = fault_roles.CLASSES["pods"]
        needs = sorted(await fault_roles.asked(pods, target), key=str)
        assert [str(each) for each in await missing(needs, limited)] == ["create pods/eviction"]
