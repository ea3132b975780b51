"""One expectation against one history: held, refuted, or not to be said, each with the sentence that says why.

Windows that cannot say are counted both ways: what holds even if all of them were bad is held, what fails even if all
of them were good is refuted, and between the two it is inconclusive.
"""

from __future__ import annotations

from dataclasses import dataclass

from drillbook.experiments import sentences
from drillbook.experiments.windows import Answer, answers, ask
from drillbook.model.events import Phase
from drillbook.model.expectation import Anchor, Expectation, Quantifier
from drillbook.model.history import Span
from drillbook.model.verdict import Finding, Verdict
from drillbook.probes import clocks, registry
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Reading


@dataclass(frozen=True)
class Frame:
    """Where in time an expectation is asked."""

    span: Span
    deadline: float | None
    """``within``: the monotonic moment by which it must be so."""
    ended_early: bool = False
    """The run was cut short: what was not seen to fail may still have failed."""


def frame(index: Indexed, wanted: Expectation, *, default: Span, ended_early: bool = False) -> Frame | str:
    """The window of an expectation, or why there is none. ``default`` is for those that name no phase and no anchor."""
    span = default
    if wanted.during is not None:
        found = index.spans.get(Phase(wanted.during))
        if found is None:
            return f"the run never came to {wanted.during}"
        span = found
    deadline = None
    if wanted.within is not None:
        anchor = anchor_of(index, wanted.anchor)
        if anchor is None:
            return f"there was no {wanted.anchor.value} to count from"
        deadline = anchor + wanted.within
        if wanted.during is None:
            span = Span(anchor, _end_of(index, wanted.anchor, default))
    return Frame(span, deadline, ended_early)


def anchor_of(index: Indexed, anchor: Anchor) -> float | None:
    """The monotonic moment that ``within`` counts from; of an effect that harmed nobody, the injection."""
    found = clocks.read(index)
    if anchor is Anchor.UNDO:
        moment = found.revert.at
        undo = index.spans.get(Phase.UNDO)
        return moment + index.origin if moment is not None else (undo.start if undo else None)
    moment = found.effect.at if anchor is Anchor.EFFECT and found.effect.at is not None else found.inject.at
    return None if moment is None else moment + index.origin


def _end_of(index: Indexed, anchor: Anchor, default: Span) -> float:
    if anchor is not Anchor.UNDO:
        return default.end
    return index.spans[Phase.SETTLE].end if Phase.SETTLE in index.spans else index.end


def finding(index: Indexed, wanted: Expectation, role: str, place: Frame | str) -> Finding:
    """The verdict on one expectation in its frame."""
    if isinstance(place, str):
        return sentences.write(index, wanted, role, Verdict.INCONCLUSIVE, f"cannot be said: {place}")
    probe = registry.lookup(wanted.probe, wanted.dimension)
    if probe.kind is Kind.EVENT or wanted.is_event:
        verdict, reason, reading = _event(index, wanted, place, probe.read(index, place.span))
        return sentences.write(index, wanted, role, verdict, reason, Answer(place.span, reading, None))
    quantifier = _quantifier(wanted, role, probe.kind)
    if quantifier is Quantifier.ONCE:
        answer = ask(index, probe, wanted, place.span)
        return _settle(index, wanted, role, place, answer.holds, answer, quantifier)
    if not place.span.length:
        return sentences.write(index, wanted, role, Verdict.INCONCLUSIVE, "cannot be said: that stretch has no length")
    every = answers(index, probe, wanted, place.span)
    pessimist = _found(every, wanted, quantifier, place, unknown=False)
    optimist = _found(every, wanted, quantifier, place, unknown=True)
    holds = True if pessimist else None if optimist else False
    return _settle(index, wanted, role, place, holds, _telling(every, wanted, quantifier, holds), quantifier)


def _quantifier(wanted: Expectation, role: str, kind: Kind) -> Quantifier:
    """A bite, and whatever shall hold ``for`` a while, is asked of some stretch of time, not of the whole window."""
    lasting = wanted.hold is not None or wanted.within is not None or kind is not Kind.TOTAL
    if role == "bite" and wanted.quantifier in (Quantifier.ONCE, Quantifier.EVENTUALLY) and lasting:
        return Quantifier.SOMETIMES
    if wanted.quantifier is Quantifier.ONCE and wanted.hold is not None:
        return Quantifier.SOMETIMES
    return wanted.quantifier


def _found(every: list[Answer], wanted: Expectation, quantifier: Quantifier, place: Frame, *, unknown: bool) -> bool:
    """Whether the windows are as wanted, those that cannot say taken as ``unknown``."""
    said = [unknown if answer.holds is None else answer.holds for answer in every]
    if quantifier is Quantifier.ALWAYS:
        return all(said)
    hold = wanted.hold or 0.0
    deadline = place.deadline if place.deadline is not None else float("inf")
    if quantifier is Quantifier.EVENTUALLY and not hold:
        since = len(said)
        while since and said[since - 1]:
            since -= 1
        return since < len(said) and every[since].window.start <= deadline
    start: float | None = None
    for answer, good in zip(every, said, strict=True):
        if not good:
            start = None
            continue
        start = answer.window.start if start is None else start
        if start <= deadline and answer.window.end - start >= hold:
            return True
    return False


def _telling(every: list[Answer], wanted: Expectation, quantifier: Quantifier, holds: bool | None) -> Answer:
    """The window that a person should be shown."""
    if holds is None:
        unsure = [answer for answer in every if answer.holds is None]
        return unsure[0] if quantifier is Quantifier.ALWAYS else unsure[-1]
    if quantifier is Quantifier.ALWAYS or not holds:
        said = [answer for answer in every if answer.holds is holds and answer.reading.value is not None] or every
        sign = sentences.direction(wanted)
        if quantifier is Quantifier.ALWAYS:
            return min(said, key=lambda answer: sign * (answer.reading.value or 0.0))
        return said[-1]
    since = len(every) - 1
    if quantifier is Quantifier.SOMETIMES:
        return next(answer for answer in every if answer.holds)
    while since and every[since - 1].holds:
        since -= 1
    return every[since]


def _settle(
    index: Indexed,
    wanted: Expectation,
    role: str,
    place: Frame,
    holds: bool | None,
    answer: Answer,
    quantifier: Quantifier,
) -> Finding:
    measured = sentences.measured(index, wanted, answer, quantifier)
    if holds is None:
        why = answer.reading.reason or "a value is missing"
        if answer.reading.at_least and answer.reading.complete:
            why = "users were still waiting when they gave up, so that the true figure is higher"
        return sentences.write(index, wanted, role, Verdict.INCONCLUSIVE, f"{measured}: {why}", answer)
    early = place.deadline is not None and place.span.end < place.deadline
    if not holds and early and quantifier is not Quantifier.ALWAYS:
        left = (place.deadline or 0.0) - place.span.end
        reason = f"{measured}, and the observation ended {left:.1f}s before the deadline"
        return sentences.write(index, wanted, role, Verdict.INCONCLUSIVE, reason, answer)
    if holds and place.ended_early and role == "expect":
        reason = f"{measured}, but the run was ended early, and the rest was not seen"
        return sentences.write(index, wanted, role, Verdict.INCONCLUSIVE, reason, answer)
    if not holds and place.ended_early and quantifier in (Quantifier.EVENTUALLY, Quantifier.SOMETIMES):
        reason = f"{measured} so far, but the run was ended early"
        return sentences.write(index, wanted, role, Verdict.INCONCLUSIVE, reason, answer)
    verdict = Verdict.HELD if holds else Verdict.REFUTED
    return sentences.write(index, wanted, role, verdict, f"{measured}; {sentences.wish(wanted)} was wanted", answer)


def _event(index: Indexed, wanted: Expectation, place: Frame, reading: Reading) -> tuple[Verdict, str, Reading]:
    anchor = anchor_of(index, wanted.anchor)
    start = place.span.start if anchor is None else anchor
    limit = f" within {sentences.seconds(wanted.within)} of {wanted.anchor.value}" if wanted.within is not None else ""
    if reading.value is not None and reading.value <= place.span.end:
        side = "after" if reading.value >= start else "before"
        after = f"{sentences.seconds(abs(reading.value - start))} {side} {wanted.anchor.value}"
        happened = f"{wanted.happened} {after}" + (f" ({reading.reason})" if reading.reason else "")
        if place.deadline is not None and reading.value > place.deadline:
            verdict = Verdict.REFUTED if reading.complete else Verdict.INCONCLUSIVE
            why = "" if reading.complete else f", {reading.reason}"
            return verdict, f"{wanted.happened} only {after}{why};{limit} was wanted", reading
        if reading.reason and place.ended_early:
            return Verdict.INCONCLUSIVE, f"{happened}, but the run was ended early, and the rest was not seen", reading
        return Verdict.HELD, happened + (f";{limit} was wanted" if limit else ""), reading
    if reading.value is not None:
        reading = Reading(
            None,
            reason=f"only {sentences.seconds(reading.value - start)} after {wanted.anchor.value}, "
            "when drillbook had begun to undo",
        )
    if not reading.complete:
        return Verdict.INCONCLUSIVE, f"whether {wanted.subject} cannot be said: {reading.reason}", reading
    if place.deadline is not None and place.span.end < place.deadline:
        left = sentences.seconds(place.deadline - place.span.end)
        reason = f"{wanted.missed} when the observation ended, {left} before the deadline: {reading.reason}"
        return Verdict.INCONCLUSIVE, reason, reading
    if place.ended_early and place.deadline is None:
        return Verdict.INCONCLUSIVE, f"{wanted.missed} when the run was ended early: {reading.reason}", reading
    return Verdict.REFUTED, f"{wanted.missed}{limit}: {reading.reason}", reading
