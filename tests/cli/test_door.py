"""The door of the command line: instant help, exit codes, and failures told without a traceback."""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import sys

import click
import pytest

from drillbook.cli import commands, failures
from drillbook.errors import (
    DrillbookError,
    Exit,
    InvalidFileError,
    PreflightError,
    Problem,
    RefusedError,
    UndoError,
    UnreachableError,
    UnsupportedError,
    UsageError,
)


@pytest.mark.figure
def test_help_is_there_in_a_fifth_of_a_second(shell):
    def seconds() -> float:
        """Of the process itself: it waits for nothing, and a busy machine is not its fault."""
        before = os.times()
        assert shell("--help").returncode == 0
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    assert min(seconds() for _ in range(3)) < 0.2


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom drillbook.cli.main import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted({'pydantic', 'aiohttp', 'kubernetes', 'rich', 'jinja2', 'yaml', 'msgspec'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[-1] == "[]"


def test_help_names_every_command_with_its_one_line(drillbook):
    told = drillbook("--help").output
    for name, text in commands.HELP.items():
        assert f"  {name}" in told
        assert text.split(",")[0].split(":")[0][:40] in told


@pytest.mark.parametrize("name", commands.HELP)
def test_every_command_of_the_table_exists_and_explains_itself(drillbook, name):
    assert isinstance(importlib.import_module(f"drillbook.cli.{name}").command, click.Command)
    told = drillbook(name, "-h")
    assert told.exit_code == 0
    assert told.output.startswith(f"Usage: drillbook {name}")


def test_no_arguments_show_the_help(drillbook):
    assert drillbook().output == drillbook("--help").output
    assert drillbook().exit_code == 0


def test_the_version_is_told(drillbook):
    from drillbook import __version__

    assert drillbook("--version").output == f"drillbook {__version__}\n"


def test_a_mistyped_command_is_asked_about(drillbook):
    told = drillbook("vaildate")
    assert told.exit_code == Exit.USAGE
    assert "No such command 'vaildate'. Did you mean validate?" in told.output


def test_an_unknown_option_exits_2(drillbook):
    assert drillbook("validate", "--colour").exit_code == Exit.USAGE


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("a"), 2),
        (InvalidFileError("a", problems=[Problem("x.yaml", 1, 2, "b")]), 2),
        (PreflightError("a"), 4),
        (UnsupportedError("a"), 4),
        (UnreachableError("a"), 4),
        (RefusedError("a"), 3),
        (UndoError("a"), 5),
        (DrillbookError("a"), 70),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("a"), 2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_failure_has_its_exit_code_and_no_traceback(error, code, capsys):
    def fail():
        raise error

    with pytest.raises(SystemExit) as left:
        failures.guard(fail)
    assert left.value.code == code
    told = capsys.readouterr().err
    assert told.strip()
    assert "Traceback" not in told


def test_an_error_is_told_with_what_to_do_next(capsys):
    failures.tell(UsageError("there is no such thing", "look elsewhere"))
    assert capsys.readouterr().err == "error: there is no such thing\n  look elsewhere\n"


def test_a_bug_is_one_line_and_a_file(capsys, state):
    def fail():
        raise ZeroDivisionError("oh")

    with pytest.raises(SystemExit) as left:
        failures.guard(fail)
    assert left.value.code == Exit.INTERNAL
    told = capsys.readouterr().err
    assert "bug: ZeroDivisionError: oh" in told
    assert "Traceback" not in told
    kept = next((state / "tracebacks").iterdir())
    assert str(kept) in told
    assert "ZeroDivisionError" in kept.read_text()


def test_a_pipe_that_breaks_within_is_a_bug_and_no_reader_who_went_away(capsys):
    def fail():
        raise BrokenPipeError("a process of ours has ended")

    with pytest.raises(SystemExit) as left:
        failures.guard(fail)
    assert left.value.code == Exit.INTERNAL
    assert "a process of ours has ended" in capsys.readouterr().err


def test_debug_shows_the_traceback_of_a_bug(capsys, monkeypatch):
    monkeypatch.setenv("DRILLBOOK_DEBUG", "1")

    def fail():
        raise ZeroDivisionError("oh")

    with pytest.raises(SystemExit):
        failures.guard(fail)
    assert "Traceback" in capsys.readouterr().err


def test_a_signal_that_comes_after_the_answer_does_not_change_it():
    """Found by the attack: Ctrl-C as Python tidied up ended a run that had held by the signal."""
    source = (
        "import os, signal, atexit\n"
        "from drillbook.cli import failures\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "failures.guard(lambda: 1)\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_reader_who_went_away_is_no_error():
    command = f"set -o pipefail; {sys.executable} -m drillbook schema | head -1"
    told = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=False)
    assert told.stdout == "{\n"
    assert told.stderr == ""
    # On a fast reader everything may be written before it goes.
    assert told.returncode in (0, failures.BROKEN_PIPE)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_from_the_start_is_no_error_and_no_file_s_number(closed, tmp_path):
    told = tmp_path / "told"
    source = (
        "from drillbook.cli import failures\n"
        "def command():\n"
        f"    with open({str(told)!r}, 'w') as file:\n"
        "        assert file.fileno() > 2\n"
        "        print('to nobody', flush=True)\n"
        "        file.write('whole')\n"
        "    return 3\n"
        "failures.guard(command)\n"
    )
    command = f"exec {sys.executable} -c {shlex.quote(source)} {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=90, check=False)
    assert (done.returncode, done.stderr, told.read_text()) == (3, "", "whole")


TALKS = """
import sys, time
from drillbook.cli import failures
def talk():
    while True:
        print("word", flush=True)
        time.sleep(0.01)
failures.guard(talk)
"""


def test_a_terminal_that_is_gone_is_an_interruption_also_before_its_signal_comes():
    """It is not this process's controlling terminal, so that no SIGHUP comes at all."""
    leader, follower = os.openpty()
    process = subprocess.Popen([sys.executable, "-c", TALKS], stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    assert b"word" in os.read(leader, 100)
    os.close(leader)
    assert process.wait(90) == Exit.INTERRUPTED


def test_colour_is_for_terminals_and_no_color_turns_it_off(shell):
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "drillbook", "show", "nothing-like-it"]
    for env, coloured in (({}, True), ({"NO_COLOR": "1"}, False)):
        process = subprocess.Popen(command, stderr=follower, env={"TERM": "xterm"} | os.environ | env)
        assert process.wait(90) == Exit.USAGE
        assert (b"\x1b[31" in os.read(leader, 10_000)) is coloured
    os.close(leader)
    os.close(follower)
    assert "\x1b" not in shell("show", "nothing-like-it").stderr


def test_options_can_be_set_in_the_environment(drillbook, monkeypatch):
    monkeypatch.setenv("DRILLBOOK_LIST_AS_JSON", "1")
    assert drillbook("list", "prompts").output.startswith("[")


def test_the_shell_completes_commands_and_names(shell):
    def offered(words: str) -> str:
        env = {"_DRILLBOOK_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        return shell(**env).stdout

    assert "plain,validate" in offered("drillbook va")
    assert "plain,pod-kill" in offered("drillbook show pod")
