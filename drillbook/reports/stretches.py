"""The three stretches that users' figures are compared over: before, during and after the fault.

They follow what users saw, not what the runner did: *during* lasts from the first injection until users were served
within the steady state again. Where nobody was harmed it is the observation, so that there is still a subject.
"""

from __future__ import annotations

import msgspec

from drillbook.model.events import FaultState, Phase
from drillbook.model.history import History
from drillbook.model.judgement import Clocks


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Half open, seconds after time zero."""

    name: str
    start: float
    end: float

    def __contains__(self, moment: float) -> bool:
        return self.start <= moment < self.end


def stretches(history: History, clocks: Clocks) -> tuple[Stretch, ...]:
    """``before``, ``during`` and ``after``; only those that have a length."""
    phases = {
        phase: (history.relative(span.start), history.relative(span.end)) for phase, span in history.phases().items()
    }
    end = history.relative(history.end)
    start = phases.get(Phase.BASELINE, (history.relative(history.lines[0].mono) if history.lines else 0.0, 0.0))[0]
    injected = history.fault_moment(FaultState.INJECTING)
    if injected is None:
        return _lasting(Stretch(name="before", start=start, end=end))
    begun = history.relative(injected)
    if clocks.mitigate.at is not None:
        over = clocks.mitigate.at
    else:
        watched = max(
            (span[1] for phase, span in phases.items() if phase in (Phase.INJECT, Phase.OBSERVE)), default=end
        )
        over = max([watched, *(until for _, until in clocks.broken)])
    return _lasting(
        Stretch(name="before", start=start, end=begun),
        Stretch(name="during", start=begun, end=max(over, begun)),
        Stretch(name="after", start=max(over, begun), end=end),
    )


def _lasting(*all_of_them: Stretch) -> tuple[Stretch, ...]:
    return tuple(stretch for stretch in all_of_them if stretch.end > stretch.start)
