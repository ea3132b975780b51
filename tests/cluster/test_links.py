"""The shipped brownout against one engine of real vLLM over two pods of a real cluster."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys

import link_cluster
import pytest
import vllm_cluster
import yaml

from drillbook import catalog
from drillbook.targets import paths
from drillbook.targets.kube import Kube

pytestmark = [pytest.mark.cluster, pytest.mark.vllm]

DRILL_SECONDS = 300


@pytest.fixture
def ranks(kubeconfig, tmp_path):
    python = os.environ.get("DRILLBOOK_VLLM_PYTHON")
    if not python:
        pytest.skip("needs real vLLM on the cluster's node: DRILLBOOK_VLLM_PYTHON")
    tmp_path.chmod(0o755)
    yield asyncio.run(link_cluster.up(kubeconfig, python, tmp_path))
    asyncio.run(link_cluster.down(kubeconfig))


def test_a_slower_link_makes_slower_tokens_and_all_comes_back(kubeconfig, ranks, tmp_path):
    experiment = yaml.safe_load(catalog.find("experiments", "link-brownout").read_text())
    experiment["target"] |= {
        "namespace": link_cluster.NAMESPACE, "endpoint": ranks, "helper": vllm_cluster.helper_settings()
    }  # fmt: skip
    beside = catalog.find("experiments", "link-brownout").with_name("words.jsonl")
    (tmp_path / "words.jsonl").write_bytes(beside.read_bytes())
    (tmp_path / "brownout.yaml").write_text(yaml.safe_dump(experiment))
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "drillbook", "run", str(tmp_path / "brownout.yaml"), "--kubeconfig"]
    command += [str(kubeconfig), "--context", "local", "--runs", str(runs), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DRILL_SECONDS, check=False)
    assert done.returncode in (0, 1), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    (report,) = [path for path in runs.glob("*/*/report.json") if not path.parent.is_symlink()]
    (link,) = json.loads(report.read_text())["links"]
    sys.stdout.write(f"{json.dumps(link)}\n")
    response = {stage["name"]: stage["slower"] for stage in link["stages"]}
    assert response["500 kbit/s"] > 3
    assert response["500 kbit/s"] > response["2 Mbit/s"]
    asyncio.run(nothing_is_left(kubeconfig))


async def nothing_is_left(kubeconfig):
    async with await Kube.from_kubeconfig(kubeconfig) as kube:
        for plural in ("configmaps", "pods"):
            place = paths.collection("v1", plural, link_cluster.NAMESPACE)
            assert await kube.list(place, labels="app.kubernetes.io/managed-by=drillbook") == []
        for pod in await kube.list(paths.pods(link_cluster.NAMESPACE)):
            name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
            for argv in (("tc", "qdisc", "show", "dev", "eth0"), ("nft", "list", "tables")):
                said = await kube.exec(link_cluster.NAMESPACE, name, container, argv)
                rows = [row for row in said.stdout.splitlines() if row.strip()]
                assert [row for row in rows if "noqueue" not in row] == []
