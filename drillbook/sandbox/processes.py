"""A sandbox's own processes: started apart from whoever starts them, and found again by their mark."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from drillbook import clock
from drillbook.sandbox.config import MARK


def start(state_dir: Path, module: str, arguments: Sequence[str], log: Path) -> int:
    """Start ``python -m module`` in a session of its own, its output going to ``log``. Returns its pid."""
    environment = {**os.environ, MARK: str(state_dir)}
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        # What our caller left open, such as the lock of `flock`, is not for a process that outlives it.
        *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable()),
    ]
    argv = [sys.executable, "-m", module, *arguments]
    return os.posix_spawn(sys.executable, argv, environment, file_actions=actions, setsid=True)


def _inheritable() -> list[int]:
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own, closed by now
            if (fd := int(entry.name)) > 2 and os.get_inheritable(fd):
                found.append(fd)
    return found


def marked(state_dir: Path) -> list[int]:
    """Every process that carries the sandbox's mark in its environment, this one excepted.

    The runtime carries it in its arguments alone: to let its forks change their titles, it had to give up the memory in
    which the kernel shows its environment.
    """
    wanted, title = f"{MARK}={state_dir}".encode(), f"drillbook.sandbox.node --state-dir {state_dir} ".encode()
    python = Path(sys.executable).resolve()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # gone, or another user's
            mine = wanted in (entry / "environ").read_bytes().split(b"\0")
            if not mine and title in (entry / "cmdline").read_bytes().replace(b"\0", b" "):
                mine = (entry / "exe").resolve() == python
            if mine and is_alive(int(entry.name)):
                found.append(int(entry.name))
    return found


def descendants(pids: Sequence[int]) -> list[int]:
    """These processes and all below them: containers whose titles have overwritten their environment bear no mark."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                children.setdefault(int(_stat_fields(int(entry.name))[1]), []).append(int(entry.name))
    found = list(pids)
    for pid in found:
        found += [child for child in children.get(pid, ()) if child not in found]
    return found


def _stat_fields(pid: int) -> list[str]:
    """State, parent and so on: what follows the name in ``/proc/<pid>/stat``."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def is_alive(pid: int) -> bool:
    """Whether the process exists and is no zombie; a dead child of this process is reaped on the way."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        return _stat_fields(pid)[0] not in ("Z", "X")
    except OSError:
        return False


def runs_module(pid: int, module: str) -> bool:
    """Whether the process was started as ``python -m module``."""
    try:
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def kill(pids: Sequence[int], deadline: float = 5.0) -> list[int]:
    """SIGKILL, and wait up to ``deadline`` seconds until they are gone. Returns those that are not."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end = clock.monotonic() + deadline
    left = [pid for pid in pids if is_alive(pid)]
    while left and clock.monotonic() < end:
        time.sleep(0.005)
        left = [pid for pid in left if is_alive(pid)]
    return left
