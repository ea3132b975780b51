"""Can this run say anything at all? Asked before any expectation, so that nothing passes vacuously and no target is
convicted of the generator's faults. Each check is a finding: held, or inconclusive with the reason.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

from drillbook.experiments.sentences import seconds
from drillbook.load import slis
from drillbook.load.locust.config import DRIFTED, SATURATED
from drillbook.model.events import FaultChanged, FaultState, LoadTicked, Noted, Phase
from drillbook.model.experiment import Experiment
from drillbook.model.history import Span
from drillbook.model.plan import PlannedFault
from drillbook.model.request import Outcome
from drillbook.model.verdict import Finding, Verdict
from drillbook.probes.index import Indexed
from drillbook.probes.names import INSTRUMENT, ITERATIONS
from drillbook.probes.signals import label

CLOCK_STEP = 1.0
"""Seconds by which wall and monotonic time may drift apart between two lines of one writer."""
TICK_GAP = 3.0
"""Load ticks come every second; after this long without one the generator was not alive, or not awake."""
WORST_LAG = 10.0
"""How many times ``max-lag`` any single request may have been late."""
LEAST_SENT = 0.8
"""Share of the scheduled requests that must be on record."""


def measurement(index: Indexed, experiment: Experiment) -> list[Finding]:
    """Whether what was measured may be believed."""
    return [
        check("the journal is whole", _damage(index), "all lines are there, from run-started to run-ended"),
        check("the clocks ran evenly", _clock_step(index), "wall and monotonic time kept together"),
        check("everything was watched throughout", _instruments(index), "no instrument failed"),
        *_load(index, experiment),
        *_engines_worked(index),
    ]


def bites(index: Indexed) -> list[Finding]:
    """Whether each planned fault took effect, as seen from outside."""
    plan = index.plan
    if plan is None or not plan.faults:
        why = "no plan was written down" if plan is None else "the plan has no fault: nothing was selected"
        return [check("a fault was injected", why, "")]
    return [_bite(index, fault) for fault in plan.faults]


def check(name: str, why: str, fine: str = "", evidence: tuple[str, ...] = (), role: str = "validity") -> Finding:
    """``why`` it cannot be believed makes it inconclusive; without one it is ``fine``."""
    verdict = Verdict.INCONCLUSIVE if why else Verdict.HELD
    return Finding(expectation=name, role=role, verdict=verdict, reason=why or fine, evidence=evidence)


def _damage(index: Indexed) -> str:
    more = f" (and {len(index.damage) - 1} more)" if len(index.damage) > 1 else ""
    return f"{index.damage[0]}{more}" if index.damage else ""


def _clock_step(index: Indexed) -> str:
    """Also met after the machine was suspended: the monotonic clock stood still then."""
    last: dict[str, tuple[float, float]] = {}
    for line in index.lines:
        mono, wall = last.get(line.writer, (line.mono, line.wall))
        step = (line.wall - wall) - (line.mono - mono)
        if abs(step) > CLOCK_STEP:
            at = index.relative(line.mono)
            where = f"at {at:.1f}s (line {line.seq} of {line.writer})"
            return f"the wall clock jumped by {step:+.1f}s {where}, or the machine was suspended"
        last[line.writer] = line.mono, line.wall
    return ""


def _instruments(index: Indexed) -> str:
    """What an instrument last saw would stand for all that came after it."""
    failed = [(line.mono, note.text) for line, note in index.events(Noted) if note.actor == INSTRUMENT]
    return "; ".join(f"{text} (at {index.relative(moment):.1f}s)" for moment, text in failed)


def _load(index: Indexed, experiment: Experiment) -> Iterator[Finding]:
    start = index.spans.get(Phase.BASELINE)
    window = Span(start.start if start else index.origin, index.watched_until)
    begin, end = window.start, window.end
    lags = sorted([one.sent - due for one in index.users if begin <= (due := one.scheduled) < end])
    yield check("requests were sent", "" if lags else "no request was sent", f"{len(lags)} requests were sent")
    if not lags:
        return
    limit = experiment.load.max_lag
    p99 = max(0.0, slis.quantile(lags, 0.99) or 0.0)
    figure = f"{seconds(p99)} at the 99th percentile, {seconds(limit)} allowed"
    why = ""
    if p99 > limit:
        why = f"the load generator lagged: {figure}"
    elif lags[-1] > WORST_LAG * limit:
        why = f"the load generator stood still: a request was sent {seconds(lags[-1])} late"
    yield check("the generator kept its schedule", why or _saturation(index), f"lag {figure}")
    yield check("the generator was alive throughout", _ticks(index, window), "it told so every second")
    expected = experiment.load.rate * window.length
    few = len(lags) < LEAST_SENT * expected - 3 * math.sqrt(expected)
    why = f"only {len(lags)} of about {expected:.0f} scheduled requests are on record" if few else ""
    yield check("all requests are on record", why, f"{len(lags)} of about {expected:.0f}")


def _saturation(index: Indexed) -> str:
    """What a generator said of itself that its lag need not show: its core is full, or its clock drifted."""
    return next((note.text for _, note in index.events(Noted) if note.text.startswith((SATURATED, DRIFTED))), "")


def _ticks(index: Indexed, window: Span) -> str:
    ticks: dict[str, list[float]] = {}
    for line, _ in index.events(LoadTicked):
        ticks.setdefault(line.writer, []).append(line.mono)
    if not ticks:
        return "the load generator gave no sign of life"
    for writer, times in ticks.items():
        marks = [window.start, *(time for time in times if time in window), window.end]
        for early, late in itertools.pairwise(marks):
            if late - early > TICK_GAP:
                return f"{writer} gave no sign of life for {late - early:.1f}s from {index.relative(early):.1f}s on"
    return ""


def _engines_worked(index: Indexed) -> Iterator[Finding]:
    """Answers that no engine computed come from a cache, or from another target than the one that is watched."""
    counters: dict[str, list[float]] = {}
    for moment, event in index.observed.get(ITERATIONS, ()):
        if event.value is not None and moment < index.watched_until:
            counters.setdefault(label(event), []).append(event.value)
    answered = index.outcomes.count(Outcome.OK)
    long_enough = any(len(values) > 2 for values in counters.values())
    if not long_enough or not answered:
        return
    grew = any(late > early for values in counters.values() for early, late in itertools.pairwise(values))
    why = "" if grew else f"{answered} answers came and no engine made a step: they came from a cache or another target"
    yield check("the engines made the answers", why, f"{ITERATIONS} grew")


_STATES = {
    FaultState.REFUSED: "the target refused the fault",
    FaultState.NO_BITE: "the fault did not bite",
}


def _bite(index: Indexed, fault: PlannedFault) -> Finding:
    name = f"{fault.id} took effect"
    changes = [(line, event) for line, event in index.events(FaultChanged) if event.id == fault.id]
    states = {event.state: (line, event.detail) for line, event in changes}
    if FaultState.BIT in states:
        line, detail = states[FaultState.BIT]
        return check(name, "", detail or "seen from outside", (f"{line.writer}:{line.seq}",), "bite")
    for state, text in _STATES.items():
        if state in states:
            line, detail = states[state]
            return check(name, f"{text}: {detail}" if detail else text, "", (f"{line.writer}:{line.seq}",), "bite")
    injected = FaultState.INJECTED in states
    return check(name, "nobody saw it take effect" if injected else "it was never injected", "", (), "bite")
