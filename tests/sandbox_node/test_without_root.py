"""The sandbox of a user who is not root: with user namespaces as separated as root's, without them still usable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import asyncio, json, os, subprocess, sys
from drillbook.sandbox import lifecycle

async def main():
    assert os.geteuid() == 1000
    sandbox = await lifecycle.up(replicas=1)
    try:
        kubectl = ["kubectl", "--kubeconfig", str(sandbox.kubeconfig)]
        command = [*kubectl, "exec", "deployment/vllm-tiny-llama-deployment-vllm", "--", "ps", "-eo", "args"]
        done = subprocess.run(command, capture_output=True, text=True)
        seen = {"endpoint": sandbox.endpoint, "code": done.returncode, "out": done.stdout, "err": done.stderr}
        print(json.dumps(seen))
    finally:
        await lifecycle.down()

asyncio.run(main())
"""
UNSHARE = ["unshare", "-U", "--map-user=1000", "--map-group=1000"]
NO_NAMESPACES = ["unshare", "-U", "--map-root-user", "sh", "-c",
                 'echo 1 > /proc/sys/user/max_user_namespaces; exec "$@"', "sh"]  # fmt: skip


def as_user(tmp_path: Path, prefix: list[str]) -> dict:
    environment = {**os.environ, "DRILLBOOK_HOME": str(tmp_path / "home")}
    probe = subprocess.run([*prefix, *UNSHARE, "true"], capture_output=True, check=False)
    if shutil.which("kubectl") is None or probe.returncode:
        pytest.skip("needs kubectl, and unshare to play another user")
    command = [*prefix, *UNSHARE, sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_without_root_pods_have_addresses_of_their_own_and_exec_sees_its_container_only(tmp_path):
    seen = as_user(tmp_path, [])
    assert seen["endpoint"].startswith("http://127.")
    assert "VLLM::EngineCore" in seen["out"]
    assert "drillbook" not in seen["out"]
    assert not list((tmp_path / "home" / "sandboxes").glob("[a-z]*"))


def test_without_any_namespaces_exec_is_refused_rather_than_opening_the_machine(tmp_path):
    seen = as_user(tmp_path, NO_NAMESPACES)
    assert seen["code"] != 0
    assert "exec is refused" in seen["err"]
    assert seen["out"] == ""
