"""A real cluster with two engines of real vLLM behind vllm-router: ``make test-cluster KUBECONFIG=…``.

``DRILLBOOK_VLLM_PYTHON`` is the Python of an environment with vLLM on the cluster's node, which is this machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import vllm_cluster
import yaml
from drill_figures import Figures

from drillbook.targets import paths
from drillbook.targets.kube import Kube

DRILL_SECONDS = 420
READY_SECONDS = 90


@pytest.fixture(scope="session")
def kubeconfig() -> Path:
    given = os.environ.get("DRILLBOOK_TEST_KUBECONFIG")
    if not given:
        pytest.skip("needs a cluster: make test-cluster KUBECONFIG=path")
    return Path(given)


@pytest.fixture
async def kube(kubeconfig: Path) -> AsyncIterator[Kube]:
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        yield kube


@pytest.fixture
async def namespace(kube: Kube) -> AsyncIterator[str]:
    """One of the test's own, once pods may be made in it."""
    name = f"drillbook-reach-{uuid.uuid4().hex[:6]}"
    await kube.create("/api/v1/namespaces", {"metadata": {"name": name}})
    accounts = paths.collection("v1", "serviceaccounts", name)
    async with asyncio.timeout(READY_SECONDS):
        while await kube.find(f"{accounts}/default") is None:
            await asyncio.sleep(0.2)
    yield name
    await kube.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def vllm(kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cluster's kubeconfig, once both engines serve."""
    python = os.environ.get("DRILLBOOK_VLLM_PYTHON")
    if not python:
        pytest.skip("needs real vLLM on the cluster's node: DRILLBOOK_VLLM_PYTHON")
    folder = tmp_path_factory.mktemp("models")
    folder.chmod(0o755)
    asyncio.run(vllm_cluster.up(kubeconfig, python, folder))
    yield kubeconfig
    if "DRILLBOOK_KEEP_CLUSTER" not in os.environ:
        asyncio.run(vllm_cluster.down(kubeconfig))


@pytest.fixture(scope="session")
def least_privileged(vllm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the account that ``deploy/`` makes, with the rights of every class of faults and no others."""
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    overlay = tmp_path_factory.mktemp("deploy")
    shutil.copytree(vllm_cluster.REPOSITORY / "deploy", overlay, dirs_exist_ok=True)
    classes = sorted(path.name for path in (overlay / "faults").iterdir())
    parts = {"resources": ["../base"], "components": ["../watchdog", *(f"../faults/{name}" for name in classes)]}
    (overlay / "all").mkdir()
    text = yaml.safe_dump({**parts, "namespace": vllm_cluster.NAMESPACE})
    (overlay / "all" / "kustomization.yaml").write_text(text, encoding="utf-8")
    kubectl = ["kubectl", "--kubeconfig", str(vllm)]
    built = subprocess.run(["kubectl", "kustomize", str(overlay / "all")], check=True, capture_output=True).stdout
    subprocess.run([*kubectl, "apply", "-f", "-"], input=built, check=True, capture_output=True)
    asked = subprocess.run(
        [*kubectl, "create", "token", "drillbook", "-n", vllm_cluster.NAMESPACE],
        check=True,
        capture_output=True,
        text=True,
    )
    config = yaml.safe_load(vllm.read_text(encoding="utf-8"))
    for user in config["users"]:
        user["user"] = {"token": asked.stdout.strip()}
    place = overlay / "kubeconfig"
    place.write_text(yaml.safe_dump(config), encoding="utf-8")
    yield place
    subprocess.run([*kubectl, "delete", "-f", "-"], input=built, check=False, capture_output=True)


@pytest.fixture(scope="session")
def figures() -> Figures:
    """What the drills measured, for ``docs/side-by-side.md``: written to ``$DRILLBOOK_FIGURES`` where that is set."""
    found = Figures("cluster vLLM")
    yield found
    found.write()


@pytest.fixture
def run(vllm, figures, tmp_path):
    """Runs a drill once everything is whole; afterwards it is whole again, and nothing of drillbook's is left.

    Two cores hold the cluster, its engines and this test: where the steady state did not hold, it is tried once more.
    """

    def attempt(experiment, kubeconfig, runs):
        asyncio.run(vllm_cluster.settled(vllm))
        command = [sys.executable, "-m", "drillbook", "run", str(experiment), "--kubeconfig", str(kubeconfig)]
        command += ["--context", "local", "--runs", str(runs), "--json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=DRILL_SECONDS, check=False)

    def perform(experiment, kubeconfig=vllm):
        runs = tmp_path / "first"
        done = attempt(experiment, kubeconfig, runs)
        if done.returncode == 3 and "the steady state did not hold" in done.stdout:
            runs = tmp_path / "second"
            done = attempt(experiment, kubeconfig, runs)
        assert done.returncode in (0, 1), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        (folder,) = [path for path in runs.glob("*/*") if path.is_dir() and not path.is_symlink()]
        asyncio.run(vllm_cluster.settled(vllm))
        asyncio.run(vllm_cluster.nothing_is_left(vllm))
        found = figures.add(folder)
        sys.stdout.write(f"{json.dumps(found)}\n")
        return json.loads(done.stdout), found, folder

    return perform
