"""The guardrailed stack of the sandbox, as manifests, images and roles."""

from __future__ import annotations

from pathlib import Path

import pytest

from drillbook.sandbox import images, stack
from drillbook.sandbox.config import SandboxConfig
from drillbook.targets.labels import matches
from drillbook.targets.stack import stacks


def config(engine: str, tmp_path: Path) -> SandboxConfig:
    return SandboxConfig(
        name="x", engine=engine, stack="guardrailed", state_dir=str(tmp_path), api_port=1, network="10.200.0.0/20",
        bridged=True, vllm_python="python",
    )  # fmt: skip


@pytest.mark.parametrize(("engine", "engines", "fallbacks"), [("sim", 2, 1), ("vllm", 1, 0)])
def test_the_fallback_model_is_no_engine(engine: str, engines: int, fallbacks: int, tmp_path: Path):
    manifests = stack.objects(config(engine, tmp_path))
    assert stack.replicas_of(manifests) == engines
    (fallback,) = (
        obj for obj in manifests if obj["kind"] == "Deployment" and obj["metadata"]["name"] == stack.FALLBACK
    )
    assert fallback["spec"]["replicas"] == fallbacks


def test_users_talk_to_the_gateway(tmp_path: Path):
    front = stack.LAYOUTS["guardrailed"].front
    services = {obj["metadata"]["name"] for obj in stack.objects(config("sim", tmp_path)) if obj["kind"] == "Service"}
    assert front in services
    assert front != stack.ROUTER_SERVICE


@pytest.mark.parametrize("name", ["gateway", "classifier"])
def test_each_image_starts_its_program(name: str, tmp_path: Path):
    command = images.resolve(config("sim", tmp_path), f"docker.io/drillbook/guardrail-{name}:1", (), ("--port=1",))
    assert command.argv == (f"guardrail-{name}", "--port=1")
    assert command.entry.endswith(f":{name}")


def test_each_role_marks_pods_of_one_workload(tmp_path: Path):
    pods = {
        obj["metadata"]["name"]: obj["spec"]["template"]["metadata"]["labels"]
        for obj in stack.objects(config("sim", tmp_path))
        if obj["kind"] == "Deployment"
    }
    found = {
        role: [name for name, marks in pods.items() if any(matches(one, marks) for one in each.selectors)]
        for role, each in stacks()["guardrailed"].roles.items()
    }
    assert found == {
        "engine": ["vllm-tiny-llama-deployment-vllm"],
        "router": ["vllm-deployment-router"],
        "guardrail": ["guardrail-classifier"],
        "gateway": ["guardrail-gateway"],
    }
    assert sum(matches(stacks()["guardrailed"].detect, marks) for marks in pods.values()) == 3
