"""What the operators' signals said while users were failing: what turned red, and what stayed green.

Which readings are signals is said in ``drillbook.probes.signals``: polls of ``/health``, the readiness of engine pods,
alerts and custom probes that rest at 0. This module draws the life of each of them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from drillbook.model.judgement import Clocks
from drillbook.probes import alerts
from drillbook.probes.capacity import engine_pods, short_of_capacity
from drillbook.probes.index import Indexed
from drillbook.probes.names import ALERTS
from drillbook.probes.revisions import taken_away
from drillbook.probes.signals import EXPIRY_SECONDS, is_signal, label
from drillbook.reports.clocks import overlap
from drillbook.reports.heartbeat import heartbeat

Spans = tuple[tuple[float, float], ...]


class Signal(msgspec.Struct, frozen=True, kw_only=True):
    """One signal's life. Spans are seconds after time zero; what lies in neither is unknown (no reading)."""

    name: str
    kind: str
    """``health``, ``readiness``, ``alert`` (also custom probes), or ``heartbeat``, which nobody may be watching."""
    readings: int
    green: Spans
    red: Spans
    pending: Spans = ()
    """When an alert's condition held, and its rule still waited before it fired."""
    turned: float | None
    """When it first was red after the injection; None where it never was."""
    green_while_broken: float
    """Seconds in which it was green and users were failing."""

    @property
    def stayed_green(self) -> bool:
        return self.turned is None


def signals(index: Indexed, clocks: Clocks) -> tuple[Signal, ...]:
    """First those that turned, in that order, then those that stayed green; the heartbeat last."""
    readings: dict[tuple[str, str], list[tuple[float, bool | None]]] = {}
    for probe, series in index.observed.items():
        kind, rest = ("health", 1.0) if probe == "health" else ("alert", 0.0)
        if not is_signal(probe, series):
            continue
        for moment, event in series:
            of = "endpoint" if "endpoint" in event.labels else label(event)
            path = event.labels.get("path", "/health")
            name = f"{of} {path}" if kind == "health" else f"{probe} {label(event)}".strip()
            readings.setdefault((kind, name), []).append(
                (index.relative(moment), None if event.value is None else event.value == rest)
            )
    looks = sum(event.value is not None for _, event in index.observed.get(ALERTS, ()))
    pending = dict[str, Spans]()
    for name, alert in alerts.shown(index).items():
        readings["alert", name] = [(index.relative(at), well) for at, well in alerts.turns(index, alert)]
        pending[name] = tuple((index.relative(span.start), index.relative(span.end)) for span in alert.pending)
    short = short_of_capacity(index)
    if short.times:
        steps = zip(short.times, short.values, strict=True)
        readings["readiness", "all engine pods Ready"] = [(index.relative(at), not value) for at, value in steps]
    if beats := heartbeat(index):
        readings["heartbeat", "token heartbeat"] = list(beats)
    end = index.relative(index.end)
    gone = {event.name: at for at, event in engine_pods(index) if event.change == "deleted"} | taken_away(index)
    ends = {f"{name} /health": index.relative(at) for name, at in gone.items()}
    found = [
        _signal(kind, name, seen, min(end, ends.get(name, end)), clocks, pending.get(name), looks)
        for (kind, name), seen in readings.items()
        if kind != "alert" or name in pending or _rests(seen)
    ]
    return tuple(sorted(found, key=_order))


def _order(signal: Signal) -> tuple[bool, bool, float, bool]:
    return signal.kind == "heartbeat", signal.stayed_green, signal.turned or 0.0, signal.kind != "alert"


def _rests(seen: Sequence[tuple[float, bool | None]]) -> bool:
    """A custom probe that was never at rest before time zero has no resting value to turn from."""
    before = [well for moment, well in seen if moment < 0]
    return not before or all(before)


def _signal(
    kind: str,
    name: str,
    seen: Sequence[tuple[float, bool | None]],
    end: float,
    clocks: Clocks,
    pending: Spans | None,
    looks: int,
) -> Signal:
    spans = list(_spans(seen, end, polled=kind != "readiness" and pending is None))
    green = tuple((start, stop) for start, stop, well in spans if well)
    red = tuple((start, stop) for start, stop, well in spans if not well)
    injected = clocks.inject.at if clocks.inject.at is not None else 0.0
    return Signal(
        name=name,
        kind=kind,
        readings=len(seen) if pending is None else looks,
        green=green,
        red=red,
        pending=pending or (),
        turned=next((start for start, stop in red if stop > injected), None),
        green_while_broken=sum(overlap(clocks.broken, start, stop) for start, stop in green),
    )


def _spans(
    seen: Sequence[tuple[float, bool | None]], end: float, *, polled: bool
) -> Iterable[tuple[float, float, bool]]:
    """Stretches of equal state. A polled reading counts until the next one, unless that is long in coming."""
    moments = [moment for moment, _ in seen]
    steps = [late - early for early, late in pairwise(moments)]
    patience = max(EXPIRY_SECONDS, 3 * statistics.median(steps or [0.0])) if polled else float("inf")
    current: tuple[float, float, bool] | None = None
    for (moment, well), following in zip(seen, [*moments[1:], end], strict=True):
        if well is None or moment >= end:
            continue
        until = min(following, moment + patience, end)
        if current and current[2] is well and current[1] == moment:
            current = (current[0], until, well)
            continue
        if current and current[1] > current[0]:
            yield current
        current = (moment, until, well)
    if current and current[1] > current[0]:
        yield current
