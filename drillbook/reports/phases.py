"""The phases of a run as bands on its time axis."""

from __future__ import annotations

import msgspec

from drillbook.model.events import Phase
from drillbook.model.history import History


class PhaseBand(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds after time zero."""

    name: Phase
    start: float
    end: float


def phase_bands(history: History) -> tuple[PhaseBand, ...]:
    """Every phase that began, in order."""
    return tuple(
        PhaseBand(name=phase, start=history.relative(span.start), end=history.relative(span.end))
        for phase, span in history.phases().items()
    )
