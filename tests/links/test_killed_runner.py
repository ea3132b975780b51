"""A runner that is killed while a link is throttled, and its helper with it: the watchdog puts the link back."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from link_bench import NOTHING, cmdline, left

from drillbook.model.experiment import TargetSpec
from drillbook.sandbox.lifecycle import Sandbox
from drillbook.targets import paths
from drillbook.targets.target import Target, open_target

pytestmark = [pytest.mark.root, pytest.mark.whole]

EXPERIMENT = """\
title: A throttle whose runner is killed
target: {stack: leaderworkerset, namespace: llm}
load: {rate: 2/s, prompts: short, output-tokens: 4, stream: true, stall-timeout: 10s, timeout: 30s}
warm-up: 20s
baseline: 6s
steady-state: [goodput >= 50%]
method: [{at: 0s, for: 100s, fault: link-throttle, rate: 1mbit}]
expect: [goodput >= 50%]
limits: {capacity-left: 0%}
observe: 120s
"""


async def everything(target: Target) -> dict[str, list[str]]:
    """What is on the links and beside them, and the records of runs."""
    rows = await target.kube.list(paths.collection("v1", "configmaps", "llm"))
    names = [row["metadata"]["name"] for row in rows if row["metadata"]["name"].startswith("drillbook")]
    return await left(target) | {"records": names}


def namespaces() -> int:
    said = subprocess.run(["lsns", "-t", "net", "-n", "-o", "NS"], capture_output=True, text=True, check=True)
    return len(said.stdout.split())


@pytest.mark.parametrize("helpers_too", [False, True])
async def test_the_link_is_clean_soon_after_the_runner_is_killed(
    sandbox: Sandbox, tmp_path: Path, helpers_too: bool
) -> None:
    (tmp_path / "throttle.yaml").write_text(EXPERIMENT)
    async with await open_target(TargetSpec(stack="leaderworkerset"), sandbox=sandbox) as target:
        assert await everything(target) == NOTHING | {"records": []}
        before = namespaces()
        command = [sys.executable, "-m", "drillbook", "run", str(tmp_path / "throttle.yaml"), "--sandbox", "links"]
        with (tmp_path / "log").open("w") as log:
            runner = subprocess.Popen([*command, "--runs", str(tmp_path / "runs")], stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + 90
            while not (await left(target))["qdiscs"]:
                assert runner.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                await asyncio.sleep(0.1)
        finally:
            runner.kill()
            runner.wait()
        if helpers_too:
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and "drillbook.helper --seconds" in cmdline(entry) and ours(entry, sandbox):
                    os.kill(int(entry.name), signal.SIGKILL)
        while (rest := await everything(target)) != NOTHING | {"records": []}:
            assert time.monotonic() < deadline + 60, rest
            await asyncio.sleep(0.1)
        while namespaces() > before:
            assert time.monotonic() < deadline + 60
            await asyncio.sleep(0.1)
        request = urllib.request.Request(
            f"{sandbox.endpoint}/v1/completions",
            json.dumps({"model": "tiny-llama", "prompt": "Hi", "max_tokens": 2}).encode(),
            {"Content-Type": "application/json"},
        )
        await asyncio.to_thread(lambda: urllib.request.urlopen(request, timeout=30).close())


def ours(entry: Path, sandbox: Sandbox) -> bool:
    """Of this sandbox: other tests may have helpers of their own."""
    try:
        return os.fsencode(sandbox.state_dir) in (entry / "environ").read_bytes()
    except OSError:
        return False
