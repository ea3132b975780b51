"""Memory limits by control groups (v2, or v1's memory controller), where this process may make them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")
_PREFIX = "drillbook-"


def _base() -> tuple[Path, str, str] | None:
    """Where groups are made, and the files that hold the limit and the count of OOM kills."""
    if (_V1 / "memory.limit_in_bytes").exists():
        return _V1, "memory.limit_in_bytes", "memory.oom_control"
    if "memory" in _read(_V2 / "cgroup.subtree_control").split():
        return _V2, "memory.max", "memory.events"
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def make(name: str, limit: int) -> Path | None:
    """A group that holds at most ``limit`` bytes; None where that is not possible, and the limit is not enforced."""
    base = _base()
    if base is None or not os.access(base[0], os.W_OK):
        return None
    group = base[0] / f"{_PREFIX}{name[:32]}"
    try:
        group.mkdir(exist_ok=True)
        (group / base[1]).write_text(str(limit), encoding="ascii")
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return None
    return group


def enter(group: Path) -> None:
    """Put this process, and its children to come, into the group."""
    (group / "cgroup.procs").write_text("0", encoding="ascii")


def ended(name: str) -> bool:
    """Remove the group of an ended container. True where the kernel killed in it for want of memory."""
    base = _base()
    if base is None:
        return False
    group = base[0] / f"{_PREFIX}{name[:32]}"
    counts = dict(line.split() for line in _read(group / base[2]).splitlines())
    with contextlib.suppress(OSError):  # a process that outlives its PID 1 for a moment; `sweep` takes it later
        group.rmdir()
    return int(counts.get("oom_kill", "0")) > 0


def sweep(names: set[str]) -> None:
    """Remove the groups of these containers, which a killed runtime left."""
    base = _base()
    if base is None:
        return
    for name in names:
        with contextlib.suppress(OSError):
            (base[0] / f"{_PREFIX}{name[:32]}").rmdir()
