"""pytest runs experiments as tests: ``pytest --drill-sandbox experiments/`` in a pipeline's safety-regression suite.

Each experiment is one item: held passes, refuted fails with its findings, inconclusive fails because it proves nothing.
Python tests call ``drill("engine-hang")`` and assert on what was measured. Without a target the items only validate.

Each drill is a ``drillbook run`` in a process of its own: nothing that pytest or a plugin does to signals, event loops
or modules can come between a fault and its undo, and an interrupted session waits for it.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

OPTIONS = {
    "sandbox": "an embedded sandbox, started and removed for each drill (kept: drillbook sandbox up --name pytest)",
    "kubeconfig": "a kubeconfig instead of $KUBECONFIG and ~/.kube/config",
    "context": "a context of the kubeconfig",
    "namespace": "the target's namespace",
}
"""The target's options, as ``drillbook run`` has them."""
UNDO_FAILED = 5
EXPERIMENT = re.compile(rb"^(?:title|steady-state|method|expect):", re.MULTILINE)
KEYS_OF_AN_EXPERIMENT = 4


@dataclass(frozen=True)
class Drilled:
    """How a drill ended."""

    exit_code: int
    """As of ``drillbook run``: 0 held, 1 refuted, 3 inconclusive, 4 preflight failed, 130 interrupted."""
    command: str
    said: str
    """What the console said."""
    judgement: dict[str, Any]
    """As ``drillbook run --json`` prints it: verdict, findings, clocks, reports; empty where no run began."""

    @property
    def verdict(self) -> str:
        """``held``, ``inconclusive``, ``refuted``; empty where no run began."""
        return str(self.judgement.get("verdict", ""))

    @property
    def folder(self) -> Path | None:
        """The run folder, with journal and reports."""
        return Path(self.judgement["run"]) if "run" in self.judgement else None

    @property
    def explanation(self) -> str:
        """Why it did not hold, for a person."""
        lines = [f"{self.verdict or 'no run'} (exit {self.exit_code}): {self.command}"]
        for finding in self.judgement.get("findings", ()):
            if finding["verdict"] != "held":
                lines += [f"  {finding['verdict']}: {finding['expectation']}", f"      {finding['reason']}"]
        if not self.judgement:
            lines.append(self.said.strip())
        lines += [f"  {path}" for name, path in self.judgement.get("reports", {}).items() if name == "html"]
        return "\n".join(lines)


class DrillFailedError(Exception):
    """An experiment's item did not pass."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("drillbook", "fire drills for LLM serving")
    for name, text in OPTIONS.items():
        form = {"action": "store_const", "const": "pytest"} if name == "sandbox" else {"metavar": "NAME"}
        group.addoption(f"--drill-{name}", help=f"run experiments: {text}", **form)
    group.addoption("--drill-with", metavar="OPTIONS", default="", help="more options of `drillbook run`, as one word")
    group.addoption("--drill-runs", metavar="FOLDER", default="runs", help="where run folders go (default: runs)")
    group.addoption("--drill-validate", action="store_true", help="collect experiments and only validate them")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    wanted = parent.config.getoption("drill_validate") or _target(parent.config)
    if not wanted or file_path.suffix not in (".yaml", ".yml"):
        return None
    keys = set(EXPERIMENT.findall(file_path.read_bytes()))
    return ExperimentFile.from_parent(parent, path=file_path) if len(keys) == KEYS_OF_AN_EXPERIMENT else None


class ExperimentFile(pytest.File):
    """One YAML file, one item."""

    def collect(self) -> Iterator[pytest.Item]:
        yield ExperimentItem.from_parent(self, name=self.path.stem)


class ExperimentItem(pytest.Item):
    """One experiment, drilled where a target is said and validated where none is."""

    def runtest(self) -> None:
        target = _target(self.config)
        if not target:
            done = subprocess.run([*_PROGRAM, "validate", str(self.path)], capture_output=True, text=True, check=False)
            if done.returncode:
                raise DrillFailedError((done.stdout + done.stderr).strip())
            return
        drilled = run(str(self.path), target, Path(self.config.getoption("drill_runs")))
        self.add_report_section("call", "drillbook", drilled.said)
        self.user_properties += [("verdict", drilled.verdict), ("run", str(drilled.folder or ""))]
        if drilled.exit_code == UNDO_FAILED:
            pytest.exit(f"the target may still be broken: {drilled.explanation}", returncode=UNDO_FAILED)
        if drilled.exit_code:
            raise DrillFailedError(drilled.explanation)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, DrillFailedError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"experiment {self.name}"


@pytest.fixture(scope="session")
def drill(pytestconfig: pytest.Config) -> Callable[..., Drilled]:
    """``drill(experiment, *options)`` runs a file, or an experiment that ships, and gives how it ended.

    Skips where the session names no target. Ends the session where the undo failed.
    """

    def call(experiment: str | Path, *options: str) -> Drilled:
        target = _target(pytestconfig)
        if not target:
            pytest.skip("no target to drill: pytest --drill-sandbox, or --drill-context NAME")
        drilled = run(str(experiment), [*target, *options], Path(pytestconfig.getoption("drill_runs")))
        if drilled.exit_code == UNDO_FAILED:
            pytest.exit(f"the target may still be broken: {drilled.explanation}", returncode=UNDO_FAILED)
        return drilled

    return call


_PROGRAM = (sys.executable, "-m", "drillbook")


def run(experiment: str, options: list[str], runs: Path) -> Drilled:
    """Run one experiment to its end. An interruption is handed on, and waited out: the undo comes first."""
    command = [*_PROGRAM, "run", experiment, *options, "--runs", str(runs), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, said = process.communicate()
        except BaseException:  # Ctrl-C, and pytest's own exits, which are no Exception either
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
    shown = shlex.join(["drillbook", *command[len(_PROGRAM) :]])
    return Drilled(process.returncode, shown, said, json.loads(out) if out.strip() else {})


def _target(config: pytest.Config) -> list[str]:
    """The options of ``drillbook run`` that the session's options say."""
    said = {name: config.getoption(f"drill_{name}") for name in OPTIONS}
    words = [word for name, value in said.items() if value is not None for word in (f"--{name}", str(value))]
    return words + shlex.split(config.getoption("drill_with")) if words else []
