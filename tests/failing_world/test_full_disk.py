"""What a disk without room does to the files of a run. Whole runs on full disks: ``tests/attack``."""

from __future__ import annotations

import contextlib
from pathlib import Path

import broken_files
import pytest

from drillbook.cli.drill import tell
from drillbook.cli.where import Where
from drillbook.errors import DrillbookError
from drillbook.experiments import journal
from drillbook.model.events import Noted, Observed

pytestmark = pytest.mark.root


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "ballast").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def note(text: str) -> Noted:
    return Noted(actor="runner", text=text)


def test_the_end_of_a_run_is_written_on_a_disk_that_has_become_full(small_disk):
    folder = small_disk(256)
    with journal.Writer(folder, "runner") as control, journal.Writer(folder, "observer", "observations.jsonl") as seen:
        control.write(note("begin"))
        fill(folder)
        seen.write(Observed(probe="health", value=1.0))
        with pytest.raises(DrillbookError, match="No space left"):
            seen.sync()
        for number in range(100):
            control.write(note(f"{number}: {'x' * 200}"), sync=True)
        (folder / "ballast").unlink()
    events = [event.text for _, event in journal.read(folder).events(Noted)]
    assert len(events) == 101


def test_a_long_control_log_moves_its_reserve_along(small_disk):
    folder = small_disk(512)
    with journal.Writer(folder, "runner") as control:
        for _ in range(400):
            control.write(note("x" * 200))
        fill(folder)
        for _ in range(90):
            control.write(note("y" * 200), sync=True)
    assert len(list(journal.read(folder).events(Noted))) == 490


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(small_disk):
    folder = small_disk(48)
    with pytest.raises(DrillbookError, match=r"journal\.jsonl: cannot be written: No space left"):
        journal.Writer(folder, "runner")


def test_what_was_reserved_is_given_back(small_disk):
    folder = small_disk(256)
    with journal.Writer(folder, "runner") as control:
        control.write(note("one"))
    with (folder / "other").open("wb") as file:
        file.write(bytes(240 * 1024))


def test_a_disk_without_room_for_the_reports_takes_nothing_from_the_verdict(small_disk, capsys):
    """A run that held says so, and that its reports are missing; they are written once there is room."""
    folder = small_disk(2048) / "runs" / "x" / "whole"
    folder.mkdir(parents=True)
    for name, data in broken_files.whole_journal().items():
        (folder / name).write_bytes(data)
    before = sorted(path.name for path in folder.iterdir())
    fill(folder)
    code = tell(folder, Where(), as_json=False)
    told = capsys.readouterr()
    assert code == 70
    assert "HELD" in told.out
    assert "No space left" in told.err
    assert "Traceback" not in told.err
    (folder / "ballast").unlink()
    assert sorted(path.name for path in folder.iterdir() if path.stat().st_size) == before
    assert tell(folder, Where(), as_json=False) == 0
    assert (folder / "report.html").is_file()
