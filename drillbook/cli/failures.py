"""What a person sees when something goes wrong: what, where, what to do next. A traceback goes to a file."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from drillbook import clock
from drillbook.errors import DrillbookError, Exit, InvalidFileError

_hung_up = False
_TERMINALS = [stream for stream in (0, 1, 2) if os.isatty(stream)]
BROKEN_PIPE = 141
"""What a shell reports for a program that SIGPIPE ended: the reader of our output is gone."""


def guard(command: Callable[[], Any]) -> NoReturn:
    """Run the command line and leave with its exit code."""
    open_streams()
    expect_signals()
    try:
        code = _carry_out(command)
    except KeyboardInterrupt:  # once more, while the first was being told
        code = Exit.INTERRUPTED
    except OSError:  # nobody hears us: the reader of our output is gone, or the terminal, whose SIGHUP may come later
        code = Exit.INTERRUPTED if _terminal_is_gone() else BROKEN_PIPE
        mute(0, 1, 2)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the answer stands: what comes while Python tidies up changes nothing
    sys.exit(int(code) if isinstance(code, int) else 0)


def _carry_out(command: Callable[[], Any]) -> Any:
    try:
        code = command()
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.ClickException as error:
        error.show()
        code = Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        click.echo(color(sys.stderr, "interrupted", fg="yellow"), err=True)
        code = Exit.INTERRUPTED
    except DrillbookError as error:
        tell(error)
        code = error.exit_code
    except Exception as error:  # the last resort: a bug of ours becomes one line, a file and exit code 70
        if isinstance(error, OSError) and _nobody_hears(error):
            raise
        _bug(error)
        code = Exit.INTERNAL
    return code


def open_streams() -> None:
    """Whoever started us with a standard stream closed (``>&-``) hears nothing; else the next file that is opened
    would take its number, and be written into.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mute(number)
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115 - the process's own


def expect_signals() -> None:
    """From now on SIGTERM and a closed terminal do what Ctrl-C does: they end the command, with 130.

    One that whoever started us ignores (``nohup``) stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupted)


def _interrupted(number: int, _: object) -> NoReturn:
    if number == signal.SIGHUP:
        hang_up()
    raise KeyboardInterrupt


def hang_up() -> None:
    """The terminal is gone: what was written there goes nowhere, instead of failing."""
    global _hung_up
    _hung_up = True
    mute(*_TERMINALS)


def _nobody_hears(error: OSError) -> bool:
    """Whether it failed for the reader of our output. A pipe to a process of ours breaks with the same error."""
    return _terminal_is_gone() or (isinstance(error, BrokenPipeError) and _is_closed(1, 2))


def _terminal_is_gone() -> bool:
    """Whether a terminal that we had at the start was closed; writing there fails with EIO."""
    return _hung_up or _is_closed(*_TERMINALS)


def _is_closed(*streams: int) -> bool:
    """Whether the other end of any of these is closed: a terminal says POLLHUP in poll(2), a pipe POLLERR."""
    looker = select.poll()
    for stream in streams:
        looker.register(stream, 0)  # both are told unasked
    return any(happened & (select.POLLHUP | select.POLLERR) for _, happened in looker.poll(0))


def mute(*streams: int) -> None:
    """Let these file descriptors lead nowhere; Python would flush what is left there at exit, and complain."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in streams:
        os.dup2(nowhere, stream)
    if nowhere not in streams:  # it takes the lowest number that is free
        os.close(nowhere)


def tell(error: DrillbookError) -> None:
    """An error that was foreseen, on stderr: its problems or its message, then what to do next."""
    if isinstance(error, InvalidFileError) and error.problems:
        for problem in error.problems:
            place, _, rest = str(problem).partition(": ")
            click.echo(f"{color(sys.stderr, place, bold=True)}: {rest}", err=True)
    click.echo(f"{color(sys.stderr, 'error:', fg='red', bold=True)} {error.message}", err=True)
    for line in error.hint.splitlines():
        click.echo(f"  {color(sys.stderr, line, fg='cyan')}", err=True)


def color(stream: Any, text: str, **style: Any) -> str:
    """The text in colour where ``stream`` is a terminal and NO_COLOR (https://no-color.org) is not set."""
    wanted = not os.environ.get("NO_COLOR") and stream.isatty()
    return click.style(text, **style) if wanted else text


def _bug(error: Exception) -> None:
    import traceback

    text = "".join(traceback.format_exception(error))
    if debugging():
        click.echo(text, err=True)
    click.echo(f"{color(sys.stderr, 'bug:', fg='red', bold=True)} {type(error).__name__}: {error}", err=True)
    try:
        click.echo(f"  the traceback is in {_keep(text)}; --debug shows it here", err=True)
    except OSError as reason:
        click.echo(f"  the traceback could not be kept ({reason.strerror}); --debug shows it here", err=True)


def _keep(text: str) -> Path:
    from drillbook.site import state_folder

    folder = state_folder() / "tracebacks"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{clock.wall():.0f}-{os.getpid()}.txt"
    path.write_text(f"drillbook {' '.join(sys.argv[1:])}\n{text}", encoding="utf-8")
    return path


def debugging() -> bool:
    """Whether tracebacks are wanted on the screen: ``--debug``, ``DRILLBOOK_DEBUG=1``."""
    return os.environ.get("DRILLBOOK_DEBUG", "").lower() not in ("", "0", "false", "no", "off")
