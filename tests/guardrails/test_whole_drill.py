"""A whole drill: a live guardrail's classifiers are killed under attack, where it fails open and where closed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from own_sandbox import own_sandbox

from drillbook.sandbox import lifecycle
from drillbook.sandbox.kube import fetch
from drillbook.targets.kube import Kube

pytestmark = [pytest.mark.root, pytest.mark.whole]
EXPERIMENT = Path(__file__).parents[2] / "experiments" / "guardrails" / "guardrail-killed.yaml"
GATEWAY = "/apis/apps/v1/namespaces/llm/deployments/guardrail-gateway"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def sandbox(home: Path) -> Iterator[lifecycle.Sandbox]:
    with own_sandbox(home, "guarded", stack_name="guardrailed") as sandbox:
        yield sandbox


async def on_error(sandbox: lifecycle.Sandbox, value: str) -> None:
    """What ``kubectl set env`` does, waited for until only gateways of that kind are left."""
    patch = {"spec": {"template": {"spec": {"containers": [
        {"name": "gateway", "env": [{"name": "GUARDRAIL_ON_ERROR", "value": value}]}
    ]}}}}  # fmt: skip
    async with await Kube.from_kubeconfig(sandbox.kubeconfig, sandbox.context) as kube:
        await kube.patch(GATEWAY, patch, "strategic")
        deadline = time.monotonic() + 60
        while True:
            found: dict[str, Any] = await kube.get(GATEWAY)
            status = found.get("status", {})
            if (status.get("replicas"), status.get("updatedReplicas"), status.get("availableReplicas")) == (1, 1, 1):
                return
            assert time.monotonic() < deadline, status
            time.sleep(0.2)


@pytest.mark.parametrize(("value", "verdict"), [("allow", "refuted"), ("block", "held")])
async def test_a_guardrail_without_its_classifier(sandbox, home: Path, tmp_path: Path, value: str, verdict: str):
    await on_error(sandbox, value)
    written = yaml.safe_load(EXPERIMENT.read_text())
    written["load"] |= {"max-lag": "1s"}  # a busy machine is no reason to say nothing here
    experiment = tmp_path / "guardrail-killed.yaml"
    experiment.write_text(yaml.safe_dump(written))
    command = [
        sys.executable,
        "-m",
        "drillbook",
        "run",
        experiment,
        "--sandbox",
        "guarded",
        "--json",
        "--runs",
        tmp_path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    told = json.loads(done.stdout)
    assert told["verdict"] == verdict, done.stdout + done.stderr
    report = json.loads((Path(told["run"]) / "report.json").read_text())
    under = next(phase for phase in report["guardrails"]["phases"] if phase["name"] == "under fault")
    rates = {figure["name"]: figure for figure in under["figures"]}
    assert report["guardrails"]["leaks"] == 0 or value == "allow"
    if value == "allow":
        assert rates["fail-open"]["interval"][0] > 0.01
        assert rates["fail-open"]["real"]
        assert report["guardrails"]["unguarded_seconds"] > 3
    else:
        assert (rates["fail-open"]["hits"], report["guardrails"]["unguarded_seconds"]) == (0, 0)
        assert rates["fail-closed"]["hits"] > 0
        assert report["harm"]["outcomes"]["shed"] > 0
    status, _ = fetch(f"{sandbox.endpoint}/health", timeout=5.0)
    assert status == 200
