from __future__ import annotations

import resource

import pytest

from drillbook.errors import DrillbookError, UsageError
from drillbook.experiments import journal
from drillbook.model.events import Noted, Observed


def note(text: str) -> Noted:
    return Noted(actor="runner", text=text)


def texts(folder) -> list[str]:
    return [event.text for _, event in journal.read(folder).events(Noted)]


class Limit:
    """A file system on which no file may grow beyond a number of bytes: it then takes a write only in part."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __enter__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, self._before[1]))

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


def test_every_line_of_the_control_log_is_in_the_file_at_once(tmp_path):
    with journal.Writer(tmp_path, "runner") as writer:
        line = writer.write(note("one"))
        assert (tmp_path / "journal.jsonl").read_bytes().endswith(b"\n")
        assert (line.writer, line.seq) == ("runner", 0)
        assert texts(tmp_path) == ["one"]


def test_observations_are_buffered_until_they_are_synced(tmp_path):
    with journal.Writer(tmp_path, "runner"), journal.Writer(tmp_path, "observer", "observations.jsonl") as writer:
        writer.write(Observed(probe="p", value=1.0))
        assert (tmp_path / "observations.jsonl").read_bytes() == b""
        writer.sync()
        assert (tmp_path / "observations.jsonl").read_bytes() != b""


def test_a_second_writer_of_the_same_file_is_refused(tmp_path):
    with journal.Writer(tmp_path, "runner"), pytest.raises(UsageError, match="being written by another"):
        journal.Writer(tmp_path, "runner")


def test_a_file_that_is_taken_up_again_continues_its_sequence(tmp_path):
    for text in ("one", "two"):
        with journal.Writer(tmp_path, "runner") as writer:
            writer.write(note(text))
    assert [line.seq for line in journal.read(tmp_path).lines] == [0, 1]


def test_what_follows_a_torn_line_starts_on_a_line_of_its_own(tmp_path):
    with journal.Writer(tmp_path, "runner") as writer:
        writer.write(note("one"))
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"writer": "run')
    with journal.Writer(tmp_path, "recover") as writer:
        writer.write(note("two"))
    assert texts(tmp_path) == ["one", "two"]
    assert any("journal.jsonl:2: not a line" in damage for damage in journal.read(tmp_path).damage)


def test_a_full_disk_is_told_and_nothing_is_lost_or_half_written(tmp_path):
    with journal.Writer(tmp_path, "runner") as writer:
        writer.write(note("one"))
        size = (tmp_path / "journal.jsonl").stat().st_size
        with Limit(size + 40), pytest.raises(DrillbookError, match="cannot be written: File too large") as told:
            writer.write(note("two"))
        assert "free some space" in told.value.hint
        assert (tmp_path / "journal.jsonl").stat().st_size == size
        writer.write(note("three"))
    assert texts(tmp_path) == ["one", "two", "three"]
    assert not [damage for damage in journal.read(tmp_path).damage if "missing" in damage]


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DrillbookError, match="cannot be written"):
        journal.Writer(tmp_path / "file" / "run", "runner")
