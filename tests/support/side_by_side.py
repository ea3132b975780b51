"""The same Chaos Toolkit experiments through ``drillbook run`` and through ``chaos run``, each in a process of its own.

What is left of the fault is counted by neither: it is a file, and it is there or not. Run as a program, it prints the
comparison as the table of docs/chaostoolkit.md.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drillbook import site

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "chaostoolkit"
CHAOS = Path(os.environ.get("DRILLBOOK_CHAOSTOOLKIT_ENV", ROOT / ".venv-chaostoolkit")) / "bin" / "chaos"
LIMIT = 60.0


@dataclass(frozen=True)
class Row:
    """One event; ``number`` is that of the list of known defects of chaoslib, empty where it is not on it."""

    number: str
    experiment: str
    event: str
    sent: signal.Signals | None = None
    timed: bool = False
    """Whether it is about how long a run takes."""
    options: tuple[str, ...] = ()
    """What only ``chaos run`` can be told by options and not by the experiment."""
    code: int = 1
    """The exit code that drillbook should end with."""

    @property
    def name(self) -> str:
        return f"{self.experiment}{f'-{self.sent.name}' if self.sent else ''}"


ROWS = (
    Row("1", "interrupted", "SIGINT in the method", signal.SIGINT, code=130),
    Row("1", "interrupted", "SIGTERM in the method", signal.SIGTERM, code=130),
    Row("1", "interrupted", "SIGUSR1 in the method", signal.SIGUSR1, code=1),
    Row("2", "interrupted", "SIGKILL in the method", signal.SIGKILL, code=-9),
    Row("3", "safeguard", "a safeguard trips", code=1),
    Row("4", "service-down", "the probe raises after the method", code=3),
    Row("5", "value-none", "None under a range", code=3),
    Row("5", "value-nan", "NaN under a range", code=3),
    Row("5", "value-dict", "a mapping under a range", code=3),
    Row("5", "value-list", "a list under a range", code=3),
    Row("6", "violated-on-the-way", "violated during the method, well after it", code=1),
    Row("7", "nothing-once", "a continuous probe returns nothing once", code=3),
    Row("8", "fail-fast", "fail-fast with an activity of 6 s in flight", options=("--fail-fast",), timed=True),
    Row("9", "refused", "the fault action itself fails (403)", code=3),
    Row("10", "misspelt-method", "`metod`", code=2),
    Row("10", "misspelt-background", "`backgroud`", code=2),
    Row("11", "missing-control", "the module of a safeguard is missing", code=4),
    Row("", "async-activity", "an async function", code=1),
    Row("", "time-out", "a function that hangs for 8 s, `timeout` 0.5", code=3, timed=True),
    Row("", "unspeakable", "an output that JSON cannot hold", code=0),
)


@dataclass(frozen=True)
class Result:
    """How a run ended, seen from outside."""

    code: int
    fault_left: bool
    fault_happened: bool
    journal: dict[str, Any] | None
    """None where there is none, or none that can be read."""
    output: str
    seconds: float

    def told(self, *, timed: bool) -> str:
        """One cell of the table."""
        if self.journal is None:
            journal = "not begun" if self.code in (2, 4) else "no readable journal"
        else:
            journal = f"`{self.journal['status']}`" + (", deviated" if self.journal["deviated"] else "")
        fault = "**fault left**" if self.fault_left else "put back" if self.fault_happened else "nothing touched"
        took = f", {self.seconds:.1f} s" if timed else ""
        return f"exit {self.code}, {journal}, {fault}{took}"


def ours(row: Row, folder: Path) -> Result:
    """Through ``drillbook run``."""
    path = HERE / "experiments" / f"{row.experiment}.json"
    env = _env(folder) | {"DRILLBOOK_HOME": str(folder / "home")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRILLBOOK_HOME", env["DRILLBOOK_HOME"])
        site.trust_file(path)
    command = [sys.executable, "-m", "drillbook", "run", str(path), "--runs", str(folder / "runs")]
    return _run(command, env, row, folder, lambda: next((folder / "runs").glob("*/20*/journal.json"), None))


def theirs(row: Row, folder: Path) -> Result:
    """Through ``chaos run``, in the environment of ``make chaostoolkit-env``."""
    path = HERE / "experiments" / f"{row.experiment}.json"
    command = [str(CHAOS), "--no-version-check", "run", *row.options, "--journal-path", "journal.json", str(path)]
    return _run(command, _env(folder), row, folder, lambda: folder / "journal.json")


def _env(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([str(HERE / "modules"), str(ROOT)])
    return os.environ | {"DRILL_FOLDER": str(folder), "PYTHONPATH": path, "HOME": str(folder)}


def _run(command: list[str], env: dict[str, str], row: Row, folder: Path, journal: Any) -> Result:
    fault, due = folder / "fault", row.sent
    began = time.monotonic()
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=output, stderr=output)
        while process.poll() is None:
            if due is not None and (folder / "sleeps").exists():  # the activity after the fault is in flight
                process.send_signal(due)
                due = None
            if time.monotonic() - began > LIMIT:
                process.kill()
                raise AssertionError(f"{command} did not end: {(folder / 'output').read_text()}")
            time.sleep(0.01)
    seconds = time.monotonic() - began
    if row.sent is signal.SIGKILL:
        _await_mended(fault, journal)
    happened = (folder / "happened").exists()
    return Result(
        process.returncode, fault.exists(), happened, _read(journal()), (folder / "output").read_text(), seconds
    )


def _await_mended(fault: Path, journal: Any) -> None:
    """Whoever mends after a kill, and says so, is given ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = _read(journal()) or {}
        if not fault.exists() and "rolled-back-by" in found.get("drillbook", {}):
            return
        time.sleep(0.02)


def _read(path: Path | None) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_text()) if path else None
    except (OSError, ValueError):
        return None


def main() -> None:
    """Print the table."""
    say = sys.stdout.write
    say("| # | event | `chaos run` | `drillbook run` |\n|---|---|---|---|\n")
    for row in ROWS:
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
            there = theirs(row, Path(one)).told(timed=row.timed)
            here = ours(row, Path(two)).told(timed=row.timed)
        say(f"| {row.number} | {row.event} | {there} | {here} |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
