from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from drillbook import reports
from drillbook.errors import InvalidFileError, UsageError
from drillbook.model.events import Line
from drillbook.model.history import History
from drillbook.model.judgement import Judgement
from drillbook.reports.facts import Facts
from drillbook.reports.write import formats, write_facts


@pytest.fixture
def folder(tmp_path: Path, engine_hang: tuple[History, Judgement]) -> Path:
    """A run folder as a runner leaves it."""
    history = engine_hang[0]
    files = {
        "journal.jsonl": [line for line in history.lines if line.writer == "control"],
        "observations.jsonl": [line for line in history.lines if line.writer != "control"],
        "requests-0.jsonl": [
            Line(writer="load-0", seq=seq, boot="b00t1d00", mono=request.end, wall=request.end, event=request)
            for seq, request in enumerate(sorted(history.requests, key=lambda request: request.end))
        ],
    }
    for name, lines in files.items():
        (tmp_path / name).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    return tmp_path


def test_a_run_folder_gets_all_its_reports(folder: Path) -> None:
    written = reports.write(folder)
    assert {name: path.name for name, path in written.items()} == {
        "html": "report.html", "markdown": "report.md", "json": "report.json", "junit": "junit.xml",
        "playbook": "playbook.md", "chaostoolkit": "chaostoolkit.json",
    }  # fmt: skip
    assert all(path.parent == folder and path.stat().st_size > 500 for path in written.values())
    assert not list(folder.glob(".*.part"))


def test_only_the_formats_that_were_asked_for_are_written(folder: Path) -> None:
    assert list(reports.write(folder, formats=["json"])) == ["json"]
    assert not (folder / "report.html").exists()


def test_writing_twice_gives_the_same(folder: Path) -> None:
    first = {name: path.read_bytes() for name, path in reports.write(folder).items()}
    assert {name: path.read_bytes() for name, path in reports.write(folder).items()} == first


def test_an_unknown_format_says_which_there_are(folder: Path) -> None:
    with pytest.raises(UsageError) as caught:
        reports.write(folder, formats=["markdwon"])
    assert "'markdown'" in caught.value.hint


def test_a_broken_playbook_touches_no_file(
    folder: Path, engine_hang_facts: Facts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for kind in ("experiments", "playbooks"):
        (tmp_path / kind).mkdir()
    (tmp_path / "playbooks" / "engine-hang.yaml").write_text("id: engine-hang\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidFileError):
        write_facts(folder, engine_hang_facts)
    assert not (folder / "report.html").exists()


def test_a_run_without_a_playbook_gets_none(folder: Path, engine_hang_facts: Facts) -> None:
    head = msgspec.structs.replace(engine_hang_facts.header, playbook="")
    written = write_facts(folder, msgspec.structs.replace(engine_hang_facts, header=head))
    assert "playbook" not in written


def test_adding_a_format_is_adding_a_file() -> None:
    assert formats() == ("chaostoolkit", "garak", "html", "json", "junit", "markdown", "playbook")
