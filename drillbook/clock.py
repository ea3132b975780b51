"""The one door to time. Nothing else in drillbook calls ``time.time`` or ``time.monotonic``.

Durations and order come from the monotonic clock, which on Linux all processes of one machine share until it reboots
(``boot_id`` tells machines and boots apart). Wall time is written beside it for people, and never compared. A
process on another machine, whose times are to be compared with ours all the same, keeps our clock: ``keep``.
"""

from __future__ import annotations

import time
import uuid
from functools import cache
from pathlib import Path

_ahead = 0.0
_boot = ""


def keep(boot: str, ahead: float) -> None:
    """From now on keep the clock of another machine, which is ``ahead`` seconds ahead of this one's."""
    global _ahead, _boot  # there is one clock in a process
    _ahead, _boot = ahead, boot


def monotonic() -> float:
    """Seconds on this machine's monotonic clock, or the one that is kept; equal in all its processes."""
    return time.monotonic() + _ahead


def wall() -> float:
    """Seconds since the epoch, for people to read; it may jump."""
    return time.time()


def boot_id() -> str:
    """Eight characters that tell this boot of this machine: two lines with equal ids may compare monotonic times."""
    return _boot or _own_boot()


@cache
def _own_boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return uuid.uuid4().hex[:8]
