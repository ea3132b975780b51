"""What the autoscaler did with the run: its lag leg by leg, how far it went, and why it did not."""

from __future__ import annotations

import msgspec

from drillbook.model.history import Span
from drillbook.model.judgement import RecoveryPart
from drillbook.probes import autoscaling
from drillbook.probes.capacity import desired_engines
from drillbook.probes.index import Indexed


class ScalingFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas are those that the engines' workload asks for. Seconds are after time zero."""

    before: int
    """At the injection."""
    most: int
    most_at: float
    last: int
    """At the end of the observation."""
    overshoot: int
    """How many more were asked for at the most than at the end of the observation."""
    flaps: int
    """How often the replicas turned round within the run."""
    at_max: float
    """Seconds at the autoscaler's maximum."""
    blind: float
    """Seconds in which it could not read its metrics."""
    moved: bool
    """Whether more engines were asked for than at the injection."""
    cause: str
    """What stood in its way; empty where nothing did."""
    legs: tuple[RecoveryPart, ...]


def scaling(index: Indexed) -> ScalingFacts | None:
    """None where nothing was injected or no autoscaler was watched."""
    steps, injected = desired_engines(index), index.injected
    before = steps.at(injected) if injected is not None else None
    if injected is None or before is None or not autoscaling.looks(index):
        return None
    watched = Span(injected, max(index.watched_until, injected))
    whole = Span(injected, index.end)
    top = autoscaling.peak(index, watched)
    most_at, most = top if top is not None and top[1] > before else (injected, before)
    spent = {probe.name: probe.read(index, whole).value or 0.0 for probe in autoscaling.PROBES if probe.name in _SPENT}
    return ScalingFacts(
        before=int(before),
        most=int(most),
        most_at=index.relative(most_at),
        last=int(steps.at(watched.end) or 0),
        overshoot=int(autoscaling.overshoot(steps, watched)),
        flaps=int(autoscaling.flaps(steps, whole)),
        at_max=spent["time-at-max"],
        blind=spent["autoscaler-blind"],
        moved=autoscaling.raised(index) is not None,
        cause=autoscaling.cause(index),
        legs=autoscaling.legs(index),
    )


_SPENT = ("time-at-max", "autoscaler-blind")
