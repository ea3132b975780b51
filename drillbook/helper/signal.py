"""``signal``: stop or kill a container's processes by title, from outside it; those it stopped go on at its end.

Arguments: ``pod`` (uid), ``container``, ``container_id``, ``title`` and ``signal`` (``STOP`` or ``KILL``). What was
struck is told by the node's pids and start times.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import Any

from drillbook import clock
from drillbook.errors import RefusedError, UnsupportedError
from drillbook.helper import victim

SHOWN_SECONDS = 5.0
"""How long a signal may take to show; a process in an uninterruptible wait takes its time."""
_SIGNALS = {"STOP": signal.SIGSTOP, "KILL": signal.SIGKILL}


class SignalProgram:
    """See the module."""

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._pod, self._container = str(arguments["pod"]), str(arguments["container"])
        self._id, self._title = str(arguments["container_id"]), str(arguments["title"])
        self._name = str(arguments["signal"])
        if self._name not in _SIGNALS:
            raise UnsupportedError(f"SIG{self._name} is not sent by a helper", hint=f"it sends {', '.join(_SIGNALS)}")

    @property
    def held(self) -> bool:
        return self._name == "STOP"

    def apply(self) -> dict[str, Any]:
        struck = self._titled()
        if not struck:
            titles = ", ".join(sorted({_title(pid)[:60] for pid in self._pids()}))
            raise UnsupportedError(
                f"no process in container {self._container} has the title {self._title!r}",
                hint=f"its processes are: {titles}",
            )
        stopped = [pid for pid in struck if _state(pid)[0] == "T"]
        if self.held and stopped:
            raise RefusedError(f"{_title(stopped[0])} (pid {stopped[0]} of the node) was already stopped")
        for pid, start in struck.items():
            _send(pid, start, _SIGNALS[self._name])
        self._must_show(struck)
        return {"signal": self._name, "processes": [_told(pid, start) for pid, start in struck.items()]}

    def clear(self) -> dict[str, Any]:
        """Let every process with the title go on; a process that was killed is for the kubelet to bring back."""
        try:
            stopped = {pid: start for pid, start in self._titled().items() if _state(pid)[0] == "T"}
        except victim.GoneError as gone:
            return {"gone": gone.message}
        for pid, start in stopped.items():
            _send(pid, start, signal.SIGCONT)
        still = [pid for pid, start in stopped.items() if _state(pid) == ("T", start)]
        if still:
            raise RefusedError(f"processes {still} of the node are still stopped")
        return {"removed": [f"the stop of {_title(pid)} (pid {pid} of the node)" for pid in stopped]}

    def _must_show(self, struck: dict[int, int]) -> None:
        """Wait until each process is seen stopped, or gone."""
        until = clock.monotonic() + SHOWN_SECONDS
        while left := [pid for pid, start in struck.items() if not self._shows(_state(pid), start)]:
            if clock.monotonic() > until:
                raise RefusedError(f"SIG{self._name} was sent, and pid {left[0]} of the node goes on")
            select.select([], [], [], 0.01)

    def _shows(self, now: tuple[str, int], start: int) -> bool:
        state, started = now
        return state == "T" if self.held and started == start else state in ("", "Z", "X") or started != start

    def _pids(self) -> tuple[int, ...]:
        return victim.pids(self._pod, self._container, self._id)

    def _titled(self) -> dict[int, int]:
        """Pid and start time of the living processes with the title, or with it and a rank (``VLLM::Worker_TP1``)."""
        found = {}
        for pid in self._pids():
            title = _title(pid)
            state, start = _state(pid)
            if (title == self._title or title.startswith(f"{self._title}_")) and state not in ("Z", "X", ""):
                found[pid] = start
        return found


def _title(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    return ""


def _state(pid: int) -> tuple[str, int]:
    """State and start time (fields 3 and 22 of ``/proc/<pid>/stat``); empty and 0 for a process that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[19])


def _send(pid: int, start: int, number: signal.Signals) -> None:
    """Signal this very process: a descriptor holds the pid while its start time is looked at."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if _state(pid)[1] == start:
            signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return
    except PermissionError as error:
        raise RefusedError(f"pid {pid} may not be signalled", hint="the helper must be privileged") from error
    finally:
        os.close(process)


def _told(pid: int, start: int) -> dict[str, Any]:
    return {"pid": pid, "start": start, "title": _title(pid)[:100]}


PROGRAM = SignalProgram
