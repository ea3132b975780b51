"""Child processes by ``fork``: titled as vLLM's are, holding only their own sockets, and gone when their parent is."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from setproctitle import setproctitle

from drillbook import clock
from drillbook.sandbox.engine import log


def spawn(
    title: str, run: Callable[[], int], *, keep: socket.socket | None = None, close: Iterable[socket.socket] = ()
) -> int:
    """Fork a child that runs ``run`` and exits with what it returns. Returns its process id.

    ``close`` are the sockets that the child must not hold: an end that two processes hold never reads as closed, so a
    process killed at one end would go unnoticed at the other. The parent closes ``keep`` for the same reason.
    """
    child = os.fork()
    if child:
        if keep is not None:
            keep.close()
        return child
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        for sock in close:
            sock.close()
        setproctitle(f"VLLM::{title}")
        log.name_process(title)
        code = run()
    finally:
        if sys.exc_info()[0] is not None:
            log.write(traceback.format_exc())
        os._exit(code)  # never back into the parent's stack, whatever happened


def reap() -> dict[int, int]:
    """Exit codes of all children that have ended, by process id; of orphans too, as a container's first process."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended[pid] = os.waitstatus_to_exitcode(status)


def is_alive(pid: int) -> bool:
    """Whether the child ``pid`` of this process has not ended yet."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == 0
    except ChildProcessError:
        return False


def wait() -> dict[int, int]:
    """Wait until a child ends; exit codes by process id, as ``reap`` gives them."""
    os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    return reap()


def end(pids: Sequence[int], *, grace: float, term: float) -> None:
    """End children as vLLM does: wait ``grace`` seconds, SIGTERM, wait ``term`` seconds, SIGKILL."""
    left = _outlasting(pids, grace)
    for number, patience in ((signal.SIGTERM, term), (signal.SIGKILL, 0.0)):
        for pid in left:
            kill(pid, number)
        left = _outlasting(left, patience)


def _outlasting(pids: Sequence[int], seconds: float) -> list[int]:
    deadline = clock.monotonic() + seconds
    while True:
        pids = [pid for pid in pids if is_alive(pid)]
        left = deadline - clock.monotonic()
        if not pids or left <= 0:
            return pids
        select.select([], [], [], min(0.02, left))


def kill_tree(pid: int) -> None:
    """SIGKILL to a child and its children, stopped ones too."""
    try:
        below = Path(f"/proc/{pid}/task/{pid}/children").read_bytes().split()
    except OSError:
        below = []
    for one in (pid, *map(int, below)):
        kill(one, signal.SIGKILL)


def kill(pid: int, number: int) -> None:
    """Signal a child that may be gone already."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
