"""What containers use of processor and memory, from ``/proc``: the kubelet's cAdvisor in small.

Memory is each process's proportional set size: the pods are forks of one warm process, and what they still share with
one another would otherwise be counted once for each.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from drillbook import clock

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """``cpu`` in cores, over the last ``window`` seconds; ``memory`` in bytes."""

    cpu: float
    memory: int
    window: float


@dataclass(frozen=True, slots=True)
class _Process:
    parent: int
    cpu: float
    """Seconds, those of its children that it has waited for included."""
    born: float
    """Seconds since the machine's boot."""


class Meter:
    """Remembers the last look, so that the next one gives a rate."""

    def __init__(self) -> None:
        self._spent: dict[str, dict[int, float]] = {}
        self._looked = 0.0

    def measure(self, pids: Mapping[str, int]) -> dict[str, Usage]:
        """Usage by container id; ``pids`` are their main processes. One that is seen first is averaged over its life.

        Reads some files for each process of the machine: call it in a thread.
        """
        now, uptime = clock.monotonic(), float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        processes = dict(_processes())
        members = _members(processes, pids)
        result, spent = {}, {}
        for container, pid in pids.items():
            if pid not in processes:
                continue
            cpu = {one: processes[one].cpu for one in members[container]}
            before = self._spent.get(container)
            window = max(now - self._looked if before else uptime - processes[pid].born, 1 / _TICKS)
            used = sum(max(0.0, value - (before or {}).get(one, 0.0)) for one, value in cpu.items())
            result[container] = Usage(used / window, sum(map(_memory, cpu)), window)
            spent[container] = cpu
        self._spent, self._looked = spent, now
        return result


def _processes() -> list[tuple[int, _Process]]:
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (
                    Path(entry.path, "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                )
                cpu = sum(map(int, fields[11:15])) / _TICKS
                found.append((int(entry.name), _Process(int(fields[1]), cpu, int(fields[19]) / _TICKS)))
    return found


def _members(processes: Mapping[int, _Process], pids: Mapping[str, int]) -> dict[str, list[int]]:
    """The processes of each container: those in its PID namespace, where it has its own; else those below its first."""
    own = _namespace(os.getpid())
    spaces = {space: container for container, pid in pids.items() if (space := _namespace(pid)) not in ("", own)}
    roots = {pid: container for container, pid in pids.items()}
    members: dict[str, list[int]] = {container: [] for container in pids}
    for pid in processes:
        owner = spaces.get(_namespace(pid)) if spaces else None
        above = pid
        while owner is None and above in processes:
            owner = roots.get(above)
            above = processes[above].parent
        if owner is not None:
            members[owner].append(pid)
    return members


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/pid").readlink())
    except OSError:
        return ""


def _memory(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration):
        with contextlib.suppress(OSError):
            return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE
        return 0
