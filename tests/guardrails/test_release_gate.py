"""The plan that the analysis of a rollout sends: its exit code promotes a revision of the gateway or takes it back."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from guarded import Bench

from drillbook.sandbox.guardrail.settings import ClassifierSettings


async def gated(bench: Bench, folder: Path, check_timeout: float) -> tuple[int | None, str]:
    gate = await bench.gateway(
        ClassifierSettings(latency=0.02, concurrent=64), check_timeout=check_timeout, on_error="allow"
    )
    words = ("attack", "release-gate", "--endpoint", gate.url, "--concurrency", "16")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "drillbook", *words),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return process.returncode, out.decode()


async def test_a_gateway_that_checks_passes_the_gate(bench: Bench, tmp_path: Path) -> None:
    code, said = await gated(bench, tmp_path, check_timeout=20.0)
    assert code == 0, said


async def test_a_gateway_whose_checks_never_end_in_time_does_not(bench: Bench, tmp_path: Path) -> None:
    code, said = await gated(bench, tmp_path, check_timeout=0.001)
    assert code == 1, said
    assert "guardrail.fail-open" in said
