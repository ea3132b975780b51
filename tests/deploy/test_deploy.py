"""``deploy/``: the Roles allow exactly what the faults' plans ask for, kustomize builds it, and the Job runs."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import fault_roles
import pytest
import yaml
from fault_roles import CLASSES, NONE, allowed

import drillbook
from drillbook.experiments.plan import BASE_PERMISSIONS
from drillbook.faults.registry import FAULTS
from drillbook.load import engines
from drillbook.model.experiment import LoadSpec
from drillbook.targets import paths

DEPLOY = Path(drillbook.__file__).parents[1] / "deploy"
COMPONENT = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [role.yaml]\n"

kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")


def documents(path):
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def test_every_fault_has_its_class():
    classed = [name for kind in CLASSES.values() for name in kind.faults]
    assert sorted([*classed, *NONE]) == sorted(FAULTS), "put the new fault into a class of tests/support/fault_roles.py"


@pytest.fixture
async def autoscaled(target):
    """An autoscaler over the engines, for the faults that are about one."""
    place = paths.collection("autoscaling/v2", "horizontalpodautoscalers", target.namespace)
    about = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "vllm-tiny-llama-deployment-vllm"}
    spec = {"scaleTargetRef": about, "minReplicas": 2, "maxReplicas": 3, "metrics": []}
    await target.kube.create(place, {"metadata": {"name": "engines"}, "spec": spec})
    yield target
    await target.kube.delete(f"{place}/engines")


async def test_the_roles_allow_exactly_what_the_faults_ask_for(autoscaled):
    for name, kind in CLASSES.items():
        needs = await fault_roles.asked(kind, autoscaled)
        text = fault_roles.manifests(name, kind, needs, autoscaled.namespace)
        folder = DEPLOY / "faults" / name
        if os.environ.get("DRILLBOOK_WRITE_ROLES"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "role.yaml").write_text(text, encoding="utf-8")
            (folder / "kustomization.yaml").write_text(COMPONENT, encoding="utf-8")
        assert documents(folder / "role.yaml") == [each for each in yaml.safe_load_all(text) if each], (
            f"{folder / 'role.yaml'}: DRILLBOOK_WRITE_ROLES=1 pytest tests/deploy writes it anew"
        )


def test_the_base_role_allows_what_every_run_needs():
    (role,) = [each for each in documents(DEPLOY / "base" / "role.yaml") if each["kind"] == "Role"]
    needs = {(need.group, need.resource, need.verb) for need in BASE_PERMISSIONS}
    beyond = {
        ("", "services", "list"),  # the endpoint is found through one
        ("", "services", "watch"),
        ("", "pods", "get"),
        ("", "pods/log", "get"),  # logs of victims
        ("autoscaling", "horizontalpodautoscalers", "list"),
        ("autoscaling", "horizontalpodautoscalers", "watch"),
        *(("argoproj.io", plural, verb) for plural in ("rollouts", "analysisruns") for verb in ("list", "watch")),
        *(("flagger.app", "canaries", verb) for verb in ("list", "watch")),
    }
    assert allowed(role) == needs | beyond


async def test_the_role_of_the_load_allows_exactly_what_a_load_from_pods_asks_for(target):
    spec = LoadSpec.model_validate({"rate": "5/s", "engine": "locust", "workers": 2, "in": "pods"})
    pods = await engines.pods(spec, target, run_id="run-1", seconds=60)
    (role,) = [each for each in documents(DEPLOY / "load" / "role.yaml") if each["kind"] == "Role"]
    assert role["rules"] == fault_roles.rules(set(pods.permissions))
    assert {need.namespace for need in pods.permissions} == {target.namespace}


async def test_the_watchdog_may_undo_what_the_faults_break_and_breaks_nothing_itself(autoscaled):
    found = {
        each["kind"]: allowed(each) for each in documents(DEPLOY / "watchdog" / "watchdog.yaml") if "rules" in each
    }
    asked = {need for kind in CLASSES.values() for need in await fault_roles.asked(kind, autoscaled)}
    patched = {(each.group, each.resource, "patch", each.namespace == "*") for each in asked if each.verb == "patch"}
    for group, resource, verb, everywhere in patched:
        assert (group, resource, verb) in found["ClusterRole" if everywhere else "Role"]
    assert not any(resource == "pods/eviction" or verb == "*" for _, resource, verb in found["Role"])


def built(folder):
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@kubectl
@pytest.mark.parametrize("folder", ["run", "gameday"])
def test_kustomize_builds_it_into_one_namespace_and_the_api_server_takes_it(folder, sandbox):
    text = built(DEPLOY / folder)
    for obj in yaml.safe_load_all(text):
        if not obj["kind"].startswith("ClusterRole"):
            assert obj["metadata"]["namespace"] == "llm"
        for subject in obj.get("subjects", []):
            assert subject["namespace"] == "llm"
    command = ["kubectl", "--kubeconfig", str(sandbox.kubeconfig), "apply", "--dry-run=server", "-f", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@kubectl
async def test_every_class_of_faults_is_a_component(tmp_path):
    for name in CLASSES:
        overlay = tmp_path / name
        overlay.mkdir()
        parts = {"resources": ["base"], "components": [f"faults/{name}", "load"], "namespace": "elsewhere"}
        for part in ("base", "load", f"faults/{name}"):
            shutil.copytree(DEPLOY / part, overlay / part)
        (overlay / "kustomization.yaml").write_text(json.dumps(parts), encoding="utf-8")
        roles = [each for each in yaml.safe_load_all(built(overlay)) if each["kind"] == "Role"]
        names = {each["metadata"]["name"] for each in roles}
        assert f"drillbook-{name}" in names or name == "nodes"
        assert "drillbook-load" in names


@kubectl
@pytest.mark.whole
async def test_the_job_runs_its_experiment_in_the_sandbox_to_its_report(target, sandbox):
    text = built(DEPLOY / "run")
    command = ["kubectl", "--kubeconfig", str(sandbox.kubeconfig), "apply", "-f", "-"]
    await asyncio.to_thread(subprocess.run, command, input=text.encode(), check=True, capture_output=True)
    place = f"{paths.collection('batch/v1', 'jobs', 'llm')}/drillbook"
    async with asyncio.timeout(300):
        while not (status := (await target.kube.get(place)).get("status", {})).get("succeeded"):
            (pod, *_) = await target.kube.list(paths.pods("llm"), labels="app.kubernetes.io/component=runner") or [None]
            assert not status.get("failed"), await target.kube.logs("llm", pod["metadata"]["name"], "drillbook")
            await asyncio.sleep(0.5)
    (pod,) = await target.kube.list(paths.pods("llm"), labels="app.kubernetes.io/component=runner")
    log = await target.kube.logs("llm", pod["metadata"]["name"], "drillbook")
    assert "report.html" in log
    assert "HELD" in log.upper()
