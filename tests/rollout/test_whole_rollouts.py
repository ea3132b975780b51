"""Whole drills of rollouts, each stack on a sandbox of its own: a bad revision is taken back, and a good one is not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drillbook.sandbox import lifecycle

pytestmark = [pytest.mark.root, pytest.mark.whole]

DRILL = """
title: A rollout
why: To see what takes it back.
target: {{stack: {like}, sandbox: {stack}, namespace: llm, rollback: {{within: 10s}}}}
load: {{rate: 4/s, prompts: chat, output-tokens: 24, stream: true}}
slo: {{ttft: 5s}}
baseline: 6s
steady-state: [goodput >= 80%{steady}]
method: [{{at: 0s, for: 60s, fault: bad-rollout, {fault}}}]
expect: {expect}
limits: {{capacity-left: 0%}}
observe: 65s
"""
Drill = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def drilled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """Drills one rollout on a sandbox of the stack; the sandbox stays up for the next drill of the same stack."""
    if os.geteuid() != 0:
        pytest.skip("these stacks need pods with networks of their own")
    home = tmp_path_factory.mktemp("home")
    up: list[str] = []
    before, os.environ["DRILLBOOK_HOME"] = os.environ.get("DRILLBOOK_HOME"), str(home)

    def drill(stack: str, fault: str, *expect: str, like: str = "production-stack", steady: str = "") -> dict[str, Any]:
        if stack not in up:
            while up:
                asyncio.run(lifecycle.down(up.pop()))
            asyncio.run(lifecycle.up(stack, stack_name=stack))
            up.append(stack)
        path = home / "x.yaml"
        text = DRILL.format(stack=stack, like=like, fault=fault, steady=steady, expect=json.dumps(expect))
        path.write_text(text)
        command = [
            sys.executable,
            "-m",
            "drillbook",
            "run",
            str(path),
            "--sandbox",
            stack,
            "--runs",
            str(home / "runs"),
        ]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
        assert done.stdout, f"exit code {done.returncode}: {done.stderr}"
        told: dict[str, Any] = json.loads(done.stdout)
        assert told["verdict"] == "held", done.stdout + done.stderr
        report: dict[str, Any] = json.loads((Path(told["run"]) / "report.json").read_text())
        rollout: dict[str, Any] = report["rollout"]
        return rollout

    yield drill
    while up:
        asyncio.run(lifecycle.down(up.pop()))
    if before is None:
        del os.environ["DRILLBOOK_HOME"]
    else:
        os.environ["DRILLBOOK_HOME"] = before


def canary(drilled: Drill, how: str, *expect: str) -> dict[str, Any]:
    if shutil.which("prometheus") is None:
        pytest.skip("the canary's analysis asks Prometheus")
    return drilled("canary", f"role: engine, how: {how}", *expect, steady=", prom.ttft.p50 < 5s")


def test_garbage_is_taken_back_by_the_analysis(drilled: Drill) -> None:
    rollout = canary(drilled, "garbage", "rolled-back within 55s of inject", "rollbacks == 1")
    assert rollout["trigger"] == "analysis"
    assert "known-answer" in rollout["spoke"][0][2]
    assert [row["new"] for row in rollout["revisions"]] == [False, True]


def test_a_good_revision_is_promoted(drilled: Drill) -> None:
    rollout = canary(drilled, "harmless", "promoted within 55s of inject", "rollbacks == 0")
    assert rollout["rolled_back"] is None
    assert rollout["spoke"] == []


def test_a_deployments_pipeline_undoes_what_makes_no_progress(drilled: Drill) -> None:
    rollout = drilled("undoing", "role: engine, how: arguments", "rolled-back-as-declared within 55s of inject")
    assert (rollout["trigger"], rollout["kept"]) == ("progress deadline", True)


RAILS_OFF = "role: gateway, how: environment, env: {GUARDRAIL_CHECK_TIMEOUT: '0.001'}"


def test_rails_that_are_off_are_taken_back_by_the_safety_suite(drilled: Drill) -> None:
    rollout = drilled("guarded-canary", RAILS_OFF, "rolled-back within 60s of inject", like="guardrailed")
    assert rollout["trigger"] == "analysis"
    assert "safety-suite" in rollout["spoke"][0][2]


def test_rails_that_hold_are_promoted(drilled: Drill) -> None:
    good = "role: gateway, how: harmless"
    rollout = drilled("guarded-canary", good, "promoted within 60s of inject", "rollbacks == 0", like="guardrailed")
    assert rollout["spoke"] == []


def test_a_preview_that_answers_garbage_gets_no_user(drilled: Drill) -> None:
    garbage = "role: engine, how: garbage"
    drilled("blue-green", garbage, "rolled-back within 55s of inject", "bad-revision-share <= 0%")
