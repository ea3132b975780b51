"""The signal that a hang cannot hide from: an engine that has requests running and makes no step.

Nobody may be watching it today. A report shows it beside the signals that are watched, to tell how early an alert on it
would have turned. Measured on vLLM 0.32: a hung engine goes on serving ``/metrics``, its counter of steps frozen.
"""

from __future__ import annotations

from drillbook.probes.index import Indexed
from drillbook.probes.names import ITERATIONS, RUNNING
from drillbook.probes.signals import label

STILL_SECONDS = 5.0
"""A busy engine that made no step for so long hangs: steps take milliseconds, a long prefill a second or two."""


def heartbeat(index: Indexed) -> list[tuple[float, bool]]:
    """Readings of all engines together: seconds after time zero, and whether every busy engine was making steps."""
    busy: dict[str, bool] = {}
    since: dict[str, tuple[float, float | None]] = {}
    still: dict[str, bool] = {}
    found: list[tuple[float, bool]] = []
    both = sorted((*index.observed.get(RUNNING, ()), *index.observed.get(ITERATIONS, ())), key=lambda item: item[0])
    for moment, event in both:
        name = label(event)
        if event.probe == RUNNING:
            busy[name] = bool(event.value)
            continue
        moved, count = since.get(name, (moment, None))
        if event.value != count or not busy.get(name):
            moved = moment
        since[name] = moved, event.value
        still[name] = moment - moved >= STILL_SECONDS
        found.append((index.relative(moment), not any(still.values())))
    return found
