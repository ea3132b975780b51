"""No file makes a bug, an injection or a wait: a generated corpus, short here, and whole under the ``whole`` marker."""

from __future__ import annotations

import os
import re
import sys
import time
from collections import Counter
from pathlib import Path

import broken_files
import pytest
from broken_files import Broken
from click.testing import CliRunner, Result

from drillbook.cli.main import main

LONGEST = 1.0
"""Seconds of processor time that one file may take."""
JUDGED = {0, 1, 2, 3, 5, 70}
"""A damaged journal is judged for what it still says: 0 where what was changed is a word of no weight, 70 for a run
that reads as crashed. A bug is told by its word."""


@pytest.fixture
def book(tmp_path, monkeypatch) -> Path:
    """A drillbook around the working directory, with something to steal beside it."""
    home = tmp_path / "book"
    for kind in ("experiments/x", "probes", "playbooks", "adversarial/signals", "runs/x"):
        (home / kind).mkdir(parents=True)
    (tmp_path / "planted.jsonl").write_text(broken_files.SECRET)
    monkeypatch.setenv("DRILLBOOK_TEST_SECRET", broken_files.SECRET)
    monkeypatch.chdir(home)
    return home


def invoke(*args: str) -> Result:
    return CliRunner().invoke(main, list(args), prog_name="drillbook")


def put(book: Path, broken: Broken) -> Path:
    path = book / broken.path
    if broken.kind == "journal":
        path.mkdir()
        for name, data in (broken_files.whole_journal() | {"journal.jsonl": broken.data}).items():
            (path / name).write_bytes(data)
    elif broken.link:
        path.symlink_to(broken.link)
    else:
        path.write_bytes(broken.data)
    return path


def complaint(book: Path, broken: Broken) -> str:
    """What is wrong with how drillbook takes this file; empty where it takes it well."""
    path = put(book, broken)
    shown = broken.path
    began = time.process_time()
    commands = [["validate", shown]]
    if broken.kind == "journal":
        commands = [["check", shown], ["report", shown]]
    if broken.kind == "experiment":
        commands.append(["export", shown])
    results = [invoke(*command) for command in commands]
    took = time.process_time() - began
    for command, result in zip(commands, results, strict=True):
        output = result.output
        if result.exit_code not in (JUDGED if broken.kind == "journal" else {0, 2}):
            return f"exit code {result.exit_code}: {output[-600:]}"
        if broken.kind == "journal":
            if broken.certain and result.exit_code == 0 and command[0] == "check":
                return f"a damaged journal is held: {output[-300:]}"
        elif broken.certain and result.exit_code != 2:
            return f"exit code {result.exit_code} of a file that is no good: {output[-300:]}"
        place = re.escape(shown) + ("" if broken.whole or broken.kind == "journal" else r":\d+")
        if result.exit_code == 2 and not re.search(place, output):
            return f"no place told: {output[-600:]}"
        for word in ("Traceback", "bug:", broken_files.SECRET, "\x1b", "\0"):
            if word in output:
                return f"{word!r} in the output: {output[-600:]}"
        if len(output) > 100_000:
            return f"{len(output):,} characters of output"
    if took > LONGEST * len(commands):
        return f"{took:.1f} s"
    for page in path.glob("*.html") if path.is_dir() else ():
        if broken_files.SCRIPT in page.read_text(errors="replace"):
            return "a script of the journal's in the report"
    if (book / broken_files.CANARY).exists():
        return "something of the file was executed"
    return ""


def attempt(book: Path, count: int, seed: int) -> tuple[list[str], Counter[str]]:
    invoke("validate", str(broken_files.ROOT / "experiments"))  # what is imported once is not the first file's time
    problems: list[str] = []
    kinds: Counter[str] = Counter()
    for broken in broken_files.corpus(count, seed):
        kinds[broken.kind] += 1
        if found := complaint(book, broken):
            problems.append(f"{broken.path} ({broken.broken}): {found}")
    return problems, kinds


def test_the_journal_that_is_broken_in_every_way_is_held_while_it_is_whole(book):
    whole = broken_files.whole_journal()["journal.jsonl"]
    put(book, broken_files.Broken("journal", "runs/x/whole", whole, "nothing", certain=False))
    result = invoke("check", "runs/x/whole")
    assert result.exit_code == 0, result.output


def test_two_hundred_broken_files_are_told_with_their_places(book):
    problems, kinds = attempt(book, 210, seed=int(os.environ.get("DRILLBOOK_CORPUS_SEED", "1")))
    assert len(kinds) == 7
    assert problems == []


@pytest.mark.whole
def test_five_thousand_broken_files_are_told_with_their_places(book, capsys):
    problems, kinds = attempt(book, 5005, seed=int(os.environ.get("DRILLBOOK_CORPUS_SEED", "2")))
    with capsys.disabled():
        sys.stdout.write(f"\n{dict(kinds)}: {len(problems)} problems\n")
    assert problems == []
