"""The signal that a hang cannot hide from: an engine that has requests and makes no step.

Nobody may be watching it today. A report shows it beside the signals that are watched, to tell how early an alert on it
would have turned. Measured on vLLM 0.32: a hung engine goes on serving ``/metrics``, its counter of steps frozen. Its
gauge of running requests is frozen too, for it is told with each step: an engine that stopped between two requests says
to the end that none is running. What the router has sent it since tells of that one.
"""

from __future__ import annotations

import math
from bisect import bisect_left

from drillbook.probes.index import Indexed
from drillbook.probes.names import ITERATIONS, RUNNING
from drillbook.probes.sends import sends
from drillbook.probes.signals import label

STILL_SECONDS = 5.0
"""A busy engine that made no step for so long hangs: steps take milliseconds, a long prefill a second or two."""


def heartbeat(index: Indexed) -> list[tuple[float, bool]]:
    """Readings of all engines together: seconds after time zero, and whether every busy engine was making steps."""
    sent: dict[str, list[float]] = {}
    for send in sorted(sends(index), key=lambda send: send.since):
        sent.setdefault(send.pod, []).append(send.since)
    running: dict[str, float] = {}
    steps: dict[str, tuple[float, float | None]] = {}
    still: dict[str, bool] = {}
    found: list[tuple[float, bool]] = []
    both = sorted((*index.observed.get(RUNNING, ()), *index.observed.get(ITERATIONS, ())), key=lambda item: item[0])
    for moment, event in both:
        name = label(event)
        if event.probe == RUNNING:
            running[name] = min(running.get(name, math.inf), moment) if event.value else math.inf
            continue
        moved, count = steps.get(name, (moment, None))
        moved = moved if event.value == count else moment
        steps[name] = moved, event.value
        busy = min(running.get(name, math.inf), _next(sent.get(name, []), moved))
        still[name] = moment - max(moved, busy) >= STILL_SECONDS
        found.append((index.relative(moment), not any(still.values())))
    return found


def _next(moments: list[float], after: float) -> float:
    """The first request that was surely sent after the last step that was seen."""
    place = bisect_left(moments, after)
    return moments[place] if place < len(moments) else math.inf
