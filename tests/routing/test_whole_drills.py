"""Shipped drills of routing and batching, whole, through the real vllm-router."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from own_sandbox import own_sandbox

import drillbook
from drillbook.experiments import journal
from drillbook.model.events import FaultState
from drillbook.model.history import Span
from drillbook.model.request import Outcome
from drillbook.probes.index import Indexed

pytestmark = [pytest.mark.root, pytest.mark.whole]

EXPERIMENTS = Path(drillbook.__file__).parents[1] / "experiments"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with own_sandbox(tmp_path_factory.mktemp("home"), "routing") as sandbox:
        yield sandbox.name


def drilled(experiment: str, sandbox: str, runs: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The report's facts, and the verdict on each expectation."""
    command = [sys.executable, "-m", "drillbook", "run", str(EXPERIMENTS / experiment), "--sandbox", sandbox]
    done = subprocess.run([*command, "--runs", str(runs), "--json"], capture_output=True, text=True, check=False)
    assert done.stdout, f"exit code {done.returncode}: {done.stderr}"
    told: dict[str, Any] = json.loads(done.stdout)
    report: dict[str, Any] = json.loads((Path(told["run"]) / "report.json").read_text())
    return report, {row["expectation"]: row["verdict"] for row in told["findings"] if row["role"] != "validity"}


def test_a_killed_engine_gets_no_more_requests_and_its_replacement_does(sandbox: str, tmp_path: Path) -> None:
    report, verdicts = drilled("routing/dead-replica-routing.yaml", sandbox, tmp_path)
    assert verdicts["traffic-stops < 5s"] == "held"
    assert verdicts["healed-replica-used within 60s of inject"] == "held"
    (victim,) = report["routing"]["struck"]
    assert victim["heir"] not in ("", victim["engine"])


def test_a_hung_engine_is_sent_requests_until_it_is_healed(sandbox: str, tmp_path: Path) -> None:
    report, verdicts = drilled("routing/hung-replica-routing.yaml", sandbox, tmp_path)
    assert verdicts["traffic-stops < 10s"] == "refuted"
    assert verdicts["healed-replica-used within 15s of undo"] == "held"
    assert report["routing"]["struck"][0]["sent"] > 10


@pytest.fixture(scope="module")
def sticky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with own_sandbox(tmp_path_factory.mktemp("home"), "sticky", stack_name="sticky") as sandbox:
        yield sandbox.name


def test_the_sessions_of_a_killed_engine_go_on_elsewhere(sticky: str, tmp_path: Path) -> None:
    _, verdicts = drilled("routing/sticky-sessions.yaml", sticky, tmp_path)
    assert verdicts["session-losses <= 2"] == "held"
    assert verdicts["session-outage < 10s"] == "held"
    assert verdicts["healed-replica-used within 60s of inject"] == "held"


def test_the_sessions_of_a_hung_engine_lose_everything_and_the_others_nothing(sticky: str, tmp_path: Path) -> None:
    _, verdicts = drilled("routing/sticky-sessions-hung.yaml", sticky, tmp_path)
    assert verdicts["session-losses <= 3"] == "refuted"
    assert verdicts["session-outage < 10s"] == "refuted"
    index = Indexed.of(journal.read(tmp_path / "sticky-sessions-hung" / "latest"))
    undone = index.fault_moment(FaultState.UNDONE)
    assert undone is not None
    fates: dict[object, set[bool]] = {}
    for request in index.requests_of(Span(index.zero + 1, undone - 6)):  # later ones are served after the undo
        fates.setdefault(request.session, set()).add(request.outcome is Outcome.OK)
    assert {len(fate) for fate in fates.values()} == {1}
    assert set().union(*fates.values()) == {True, False}


def test_a_full_cache_is_seen_as_preemptions(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    with own_sandbox(tmp_path_factory.mktemp("home"), "full", stack_name="small-cache") as sandbox:
        report, verdicts = drilled("batching/kv-exhaustion.yaml", sandbox.name, tmp_path)
    assert verdicts["preemptions >= 1"] == "held"
    assert verdicts["error-rate <= 1%"] == "held"
    during = report["batching"]["stretches"][1]
    assert during["preemptions"] >= 1
    assert during["cache_high"] > 0.9
