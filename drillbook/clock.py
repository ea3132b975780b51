"""The one door to time. Nothing else in drillbook calls ``time.time`` or ``time.monotonic``.

Durations and order come from the monotonic clock, which on Linux all processes of one machine share until it reboots
(``boot_id`` tells machines and boots apart). Wall time is written beside it for people, and never compared.
"""

from __future__ import annotations

import time
import uuid
from functools import cache
from pathlib import Path


def monotonic() -> float:
    """Seconds on this machine's monotonic clock; equal in all its processes."""
    return time.monotonic()


def wall() -> float:
    """Seconds since the epoch, for people to read; it may jump."""
    return time.time()


@cache
def boot_id() -> str:
    """Eight characters that tell this boot of this machine: two lines with equal ids may compare monotonic times."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8]
    except OSError:
        return uuid.uuid4().hex[:8]
