"""Whole drills of canaries on a sandbox of their own: a bad revision is taken back, and a good one is not."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drillbook.sandbox import lifecycle

pytestmark = [pytest.mark.root, pytest.mark.whole]

DRILL = """
title: A canary
why: To see what takes it back.
target: {{stack: production-stack, sandbox: canary, namespace: llm}}
load: {{rate: 4/s, prompts: chat, output-tokens: 24, stream: true}}
slo: {{ttft: 5s}}
baseline: 6s
steady-state: [goodput >= 80%, prom.ttft.p50 < 5s]
method: [{{at: 0s, for: 40s, fault: bad-rollout, role: engine, how: {how}}}]
expect: {expect}
limits: {{capacity-left: 0%}}
observe: 45s
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if os.geteuid() != 0 or shutil.which("prometheus") is None:
        pytest.skip("the canary's analysis asks Prometheus, which a sandbox runs as root alone")
    before, os.environ["DRILLBOOK_HOME"] = os.environ.get("DRILLBOOK_HOME"), str(tmp_path_factory.mktemp("home"))
    asyncio.run(lifecycle.up("canary", stack_name="canary"))
    yield "canary"
    asyncio.run(lifecycle.down("canary"))
    if before is None:
        del os.environ["DRILLBOOK_HOME"]
    else:
        os.environ["DRILLBOOK_HOME"] = before


def drilled(sandbox: str, folder: Path, how: str, *expect: str) -> dict[str, Any]:
    path = folder / f"{how}.yaml"
    path.write_text(DRILL.format(how=how, expect=json.dumps(expect)))
    command = [
        sys.executable,
        "-m",
        "drillbook",
        "run",
        str(path),
        "--sandbox",
        sandbox,
        "--runs",
        str(folder / "runs"),
    ]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["verdict"] == "held", done.stdout + done.stderr
    report: dict[str, Any] = json.loads((Path(told["run"]) / "report.json").read_text())
    return report


def test_garbage_is_taken_back_by_the_analysis(sandbox: str, tmp_path: Path) -> None:
    report = drilled(sandbox, tmp_path, "garbage", "rolled-back within 39s of inject", "rollbacks == 1")
    assert report["rollout"]["trigger"] == "analysis"
    assert "known-answer" in report["rollout"]["spoke"][0][2]
    assert [row["new"] for row in report["rollout"]["revisions"]] == [False, True]


def test_a_good_revision_is_promoted(sandbox: str, tmp_path: Path) -> None:
    report = drilled(sandbox, tmp_path, "harmless", "promoted within 39s of inject", "rollbacks == 0")
    assert report["rollout"]["rolled_back"] is None
    assert report["rollout"]["spoke"] == []
