"""The child's side of starting a process in a container: what happens between ``fork`` and the container's program."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import signal
import sys
import termios
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from drillbook.sandbox.node import namespaces as ns
from drillbook.sandbox.node import rootfs
from drillbook.sandbox.node.spec import ContainerSpec

_ERRORS = 3
"""Where a failed start is reported; the descriptor closes when the program takes over."""


class Stdio(NamedTuple):
    """Descriptors of a process to be started."""

    stdin: int
    stdout: int
    stderr: int
    errors: int


def start_container(spec: ContainerSpec, network: int | None, stdio: Stdio, *, isolated: bool) -> NoReturn:
    """Become the container's main process."""

    def prepare() -> None:
        ns.die_with_parent()
        if network is not None:
            ns.setns(network, ns.NEW_NETWORK)
        if isolated:
            ns.unshare(ns.NEW_MOUNT | ns.NEW_UTS)
            rootfs.build(Path(spec.folder, "root"), spec.mounts)
            if spec.hostname:
                ns.set_hostname(spec.hostname)

    _become(prepare, stdio, lambda: _program(spec))


def start_exec(entered: Mapping[int, int], argv: Sequence[str], env: Mapping[str, str], stdio: Stdio, *,
               cwd: str, tty: bool) -> NoReturn:  # fmt: skip
    """Become a process beside a container's main process. ``entered``: namespace kind → descriptor."""

    def prepare() -> None:
        ns.die_with_parent()
        for kind, fd in entered.items():
            ns.setns(fd, kind)

    def program() -> NoReturn:
        if tty:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        _execute(argv, env, cwd)

    _become(prepare, stdio, program)


def _become(prepare: Callable[[], None], stdio: Stdio, program: Callable[[], NoReturn]) -> NoReturn:
    errors = stdio.errors
    try:
        os.setsid()
        prepare()
        _arrange(stdio)
        errors = _ERRORS
        _default_signals()
        program()
    except OSError as error:
        os.write(errors, f"{error.strerror or error}".encode()[:4000])
    except BaseException:  # noqa: BLE001 -- nothing may unwind into the runtime's loop, of which this is a copy
        os.write(errors, traceback.format_exc().encode()[-4000:])
    os._exit(128)


def _arrange(stdio: Stdio) -> None:
    """Put the descriptors at 0, 1, 2 and 3 (which closes on exec), and close every other."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in (stdio.stdin, stdio.stdout, stdio.stderr, stdio.errors)]
    for target, fd in enumerate(high):
        os.dup2(fd, target, inheritable=target != _ERRORS)
    os.closerange(_ERRORS + 1, os.sysconf("SC_OPEN_MAX"))


def _default_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with contextlib.suppress(OSError, ValueError):  # some numbers belong to libc
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)


def _execute(argv: Sequence[str], env: Mapping[str, str], cwd: str) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.chdir(cwd)
    try:
        os.execvpe(argv[0], list(argv), dict(env))  # noqa: S606 -- a container's command is not a shell's text
    except FileNotFoundError:
        raise OSError(
            2, f'exec: "{argv[0]}": executable file not found in $PATH'
            if "/" not in argv[0] else f'exec: "{argv[0]}": stat {argv[0]}: no such file or directory',
        ) from None  # fmt: skip


def _program(spec: ContainerSpec) -> NoReturn:
    if not spec.entry:
        _execute(spec.argv, spec.env, spec.cwd)
    os.close(_ERRORS)
    os.chdir(spec.cwd)
    os.environ.clear()
    os.environ.update(spec.env)
    os._exit(_call(spec.entry, list(spec.argv)))


def _call(entry: str, argv: list[str]) -> int:
    """Run a Python program in this fork of the warm runtime, as ``sys.exit`` and tracebacks would have it end."""
    gc.unfreeze()
    gc.enable()
    sys.argv = argv
    _take_title(argv)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # text files, both, in a forked interpreter
    module, _, function = entry.partition(":")
    try:
        code = getattr(importlib.import_module(module), function)(argv[1:])
    except SystemExit as leaving:
        code = leaving.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)  # noqa: T201 -- what the interpreter does with sys.exit("text")
            code = 1
    except KeyboardInterrupt:
        code = 130
    except BaseException:  # noqa: BLE001 -- the program's own crash, reported as the interpreter reports it
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code or 0


def prepare_titles() -> None:
    """Have the title's memory found now: it is found by the environment that this process began with."""
    with contextlib.suppress(ImportError):
        from setproctitle import getproctitle

        getproctitle()


def _take_title(argv: Sequence[str]) -> None:
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(" ".join(argv))
