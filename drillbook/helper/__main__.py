"""The frame of every helper: apply, tell, wait, clear, tell. See the package for what it prints."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import select
import signal
import sys
from typing import Any

from drillbook import clock
from drillbook.errors import DrillbookError, UnsupportedError
from drillbook.helper.program import Program

CLEAR_SECONDS = 20.0
"""How long clearing is tried before it is told as failed; a pod's grace is longer."""
PAUSE = 0.2


def main(argv: list[str]) -> int:
    """Run one program; the exit code is 0 exactly when nothing of it is left in place."""
    wake, woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the byte in the pipe is all that is wanted, whatever runs meanwhile
    began = clock.monotonic()
    parser = argparse.ArgumentParser(prog="python -m drillbook.helper")
    parser.add_argument("--clear", action="store_true", help="only take away what an earlier helper may have left")
    parser.add_argument("--seconds", type=float, default=60.0, help="after which it clears by itself")
    parser.add_argument("program")
    parser.add_argument("arguments", type=json.loads)
    given = parser.parse_args(argv)
    try:
        program = _load(given.program, given.arguments)
    except DrillbookError as error:
        _say(_told(error))
        return 1
    if given.clear:
        return _clear(program)
    try:
        did = program.apply()
    except Exception as error:  # noqa: BLE001 - told, and cleared: whatever it met may have come halfway
        _say(_told(error))
        _clear(program)
        return 1
    _say({"did": did})
    if not program.held:
        return 0
    select.select([wake], [], [], max(0.0, given.seconds - (clock.monotonic() - began)))
    return _clear(program)


def _load(name: str, arguments: dict[str, Any]) -> Program:
    if not name.isidentifier():
        raise UnsupportedError(f"{name!r} is no program of a helper")
    try:
        made: Program = importlib.import_module(f"drillbook.helper.{name}").PROGRAM(arguments)
    except (ModuleNotFoundError, AttributeError) as error:
        raise UnsupportedError(
            f"this helper has no program {name!r}", hint="its image is older than the drillbook that started it"
        ) from error
    except (KeyError, TypeError) as error:
        raise UnsupportedError(f"program {name!r} cannot do with these arguments: {error!r}") from error
    return made


def _clear(program: Program) -> int:
    until = clock.monotonic() + CLEAR_SECONDS
    while True:
        try:
            _say({"cleared": program.clear()})
        except Exception as error:  # noqa: BLE001 - whatever it was, it is tried again, and told in the end
            if clock.monotonic() + PAUSE > until:
                _say(_told(error) | {"left": True})
                return 1
            select.select([], [], [], PAUSE)
        else:
            return 0


def _told(error: Exception) -> dict[str, Any]:
    if isinstance(error, DrillbookError):
        unsupported = isinstance(error, UnsupportedError)
        return {"error": error.message, "hint": error.hint, "unsupported": unsupported}
    return {"error": f"{type(error).__name__}: {error}", "hint": "", "unsupported": False}


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
