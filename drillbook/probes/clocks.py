"""The clocks of a run, read off real requests: a fleet whose every pod is Ready and that makes no tokens is broken.

Effect is the first harm that a user could see, mitigation the first token of the service that then lasted, recovery
mitigation with the capacity back. Health signals only say when the trouble was *noticed*, and for how long everything
looked green while users were failing.
"""

from __future__ import annotations

from bisect import bisect_left

from drillbook.model.events import FaultChanged, FaultState, Noted
from drillbook.model.history import History, Span
from drillbook.model.judgement import Clocks, Moment
from drillbook.probes import alerts, signals
from drillbook.probes.capacity import short_of_capacity
from drillbook.probes.index import Indexed
from drillbook.probes.recovery import recovery
from drillbook.probes.suffering import HOLD_SECONDS, Outage, first_token, outages

TOOLS = ("drillbook", "runner", "load", "attack", "instrument", "watchdog", "recover", "tool", "k8s", "alert")
"""Actors of notes that are no people."""


def read(history: History) -> Clocks:
    """All clocks, in seconds after time zero; each says its resolution, and why it is missing where it is."""
    index = Indexed.of(history)
    return index.once("clocks", lambda: _read(index))


def turning_point(index: Indexed) -> Outage | None:
    """The outage whose end is the mitigation: the last that broke the steady state before drillbook's own undo.

    Where none broke it, the first odd failure: after it, the steady state held all along.
    """
    ours = [outage for outage in outages(index) if outage.start < index.watched_until]
    deep = [outage for outage in ours if outage.deep]
    return deep[-1] if deep else next(iter(ours), None)


def capacity_lost(index: Indexed) -> Span | None:
    """From the injection's first loss of capacity to the moment from which all of it was there; end infinite: never."""
    injected = index.injected
    if injected is None:
        return None
    steps = index.once("short of capacity", lambda: short_of_capacity(index))
    losses = [
        (moment, place)
        for place, (moment, short) in enumerate(zip(steps.times, steps.values, strict=True))
        if short and injected <= moment < index.watched_until
    ]
    if not losses:
        return None
    place = losses[-1][1] + 1
    return Span(losses[0][0], steps.times[place] if place < len(steps.times) else float("inf"))


def _read(index: Indexed) -> Clocks:
    injected = index.injected
    if injected is None:
        inject, effect, detect, acknowledge, mitigate, recover, revert = (
            Moment(name=name, at=None, why="no fault was injected") for name in CLOCKS
        )
        return Clocks(
            inject=inject,
            effect=effect,
            detect=detect,
            acknowledge=acknowledge,
            mitigate=mitigate,
            recover=recover,
            revert=revert,
        )
    mitigate = _mitigate(index)
    mitigated = None if mitigate.at is None else mitigate.at + index.origin
    broken = [Span(outage.start, outage.end) for outage in outages(index)]
    green = signals.overlap(broken, signals.green(index))
    return Clocks(
        inject=_inject(index, injected),
        effect=_effect(index),
        detect=_detect(index, injected),
        acknowledge=_acknowledge(index, injected),
        mitigate=mitigate,
        recover=_recover(index, mitigate),
        revert=_revert(index),
        recovery=recovery(index, injected, mitigated),
        broken=tuple((index.relative(span.start), index.relative(span.end)) for span in broken),
        green_while_broken=tuple((index.relative(span.start), index.relative(span.end)) for span in green),
    )


CLOCKS = ("inject", "effect", "detect", "acknowledge", "mitigate", "recover", "revert")


def _inject(index: Indexed, began: float) -> Moment:
    done = index.fault_moment(FaultState.INJECTED)
    if done is None:
        return Moment(name="inject", at=index.relative(began), source="injection begun", why="its end was not seen")
    return Moment(name="inject", at=index.relative(done), resolution=done - began, source="the injecting call")


def _effect(index: Indexed) -> Moment:
    first = min(outages(index), key=lambda outage: outage.start, default=None)
    if first is None:
        return Moment(name="effect", at=None, why="no user was harmed")
    request = first.first.request
    place = bisect_left(index.moments, first.start)
    earlier = index.moments[place - 1] if place else first.start
    return Moment(
        name="effect",
        at=index.relative(first.start),
        resolution=first.start - earlier,
        source=f"request {request.id} ({request.outcome.value})",
    )


def _detect(index: Indexed, injected: float) -> Moment:
    """The first alert, where alert rules were watched: a pod that is not Ready pages nobody. Else the first signal."""
    turn = signals.first_turn(index, injected)
    if alerts.watched(index):
        fired = alerts.first_fired(index, injected)
        if fired is not None:
            alert, moment = fired
            source = f"alert {alert.name}"
            return Moment(name="detect", at=index.relative(moment), resolution=alert.resolution, source=source)
        seen = f"; {turn.source} turned after {turn.at - injected:.1f}s, which pages nobody" if turn else ""
        blind = alerts.unseen(index, Span(injected, index.watched_until))
        why = f"whether an alert fired is not known: {blind}" if blind else f"no alert fired{seen}"
        return Moment(name="detect", at=None, why=why)
    return _signalled(index, turn)


def _signalled(index: Indexed, turn: signals.Turn | None) -> Moment:
    if turn is None:
        why = "every signal stayed green" if signals.has_signals(index) else "no health signal was watched"
        return Moment(name="detect", at=None, why=why)
    return Moment(name="detect", at=index.relative(turn.at), resolution=turn.resolution, source=turn.source)


def _acknowledge(index: Indexed, injected: float) -> Moment:
    for line, note in index.events(Noted):
        if line.mono >= injected and note.actor.partition("-")[0] not in TOOLS:
            return Moment(name="acknowledge", at=index.relative(line.mono), source=f"note of {note.actor}")
    return Moment(name="acknowledge", at=None, why="nobody took note during the run")


def _mitigate(index: Indexed) -> Moment:
    outage = turning_point(index)
    if outage is None:
        return Moment(name="mitigate", at=None, why="no user was harmed")
    if outage.back is None:
        return Moment(name="mitigate", at=None, why="users were not served within the steady state again")
    at = max(first_token(outage.back), outage.start)
    if outage.watched < HOLD_SECONDS:
        why = f"good from {index.relative(at):.1f}s on, but only {outage.watched:.1f}s of it were seen"
        return Moment(name="mitigate", at=None, why=f"{why}; {HOLD_SECONDS:g}s are needed to be sure")
    resolution = max(0.0, at - max(outage.last_bad, outage.start))
    return Moment(name="mitigate", at=index.relative(at), resolution=resolution, source=f"request {outage.back.id}")


def _recover(index: Indexed, mitigate: Moment) -> Moment:
    lost, outage = capacity_lost(index), turning_point(index)
    if lost is not None and lost.end == float("inf"):
        return Moment(name="recover", at=None, why="fewer engines than desired were ready to the end")
    if outage is not None and mitigate.at is None:
        return Moment(name="recover", at=None, why=mitigate.why)
    capacity = None if lost is None else index.relative(lost.end)
    if capacity is None and mitigate.at is None:
        return Moment(name="recover", at=None, why="nothing was lost: no user was harmed and every engine stayed ready")
    if capacity is None or (mitigate.at is not None and mitigate.at >= capacity):
        return Moment(name="recover", at=mitigate.at, resolution=mitigate.resolution, source=mitigate.source)
    return Moment(name="recover", at=capacity, source="ready engines = desired engines")


def _revert(index: Indexed) -> Moment:
    undone: dict[str, tuple[float, FaultChanged]] = {}
    begun: dict[str, float] = {}
    for line, event in index.events(FaultChanged):
        if event.state is FaultState.UNDOING:
            begun.setdefault(event.id, line.mono)
        elif event.state in (FaultState.UNDONE, FaultState.SUPERSEDED):
            undone.setdefault(event.id, (line.mono, event))  # told again, it was undone before
    if not undone:
        return Moment(name="revert", at=None, why="nothing was undone")
    moment, last = max(undone.values(), key=lambda item: item[0])
    resolution = max(0.0, moment - begun.get(last.id, moment))
    return Moment(name="revert", at=index.relative(moment), resolution=resolution, source=f"undo of {last.id}")
