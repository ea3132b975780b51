"""The half dozen figures of the first screen."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from drillbook.model.units import Dimension, show
from drillbook.reports.clocks import ClockFacts, Elapsed
from drillbook.reports.guardrails import UNDER_FAULT, GuardrailFacts
from drillbook.reports.harm import Harm
from drillbook.reports.slis import Sli


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """``value`` is for people; the number itself stands under its own key elsewhere in the facts."""

    name: str
    value: str
    note: str


def headline(
    clocks: ClockFacts, harm: Harm, slis: Sequence[Sli], guard: GuardrailFacts | None = None
) -> tuple[Figure, ...]:
    figures = [
        Figure(
            name="Users were failing", value=show(clocks.broken_seconds, Dimension.DURATION), note=_recovered(clocks)
        ),
        Figure(
            name="Green while broken",
            value=show(clocks.green_while_broken_seconds, Dimension.DURATION),
            note="every health signal was green and users were failing",
        ),
        Figure(name="Time to detect", value=_detected(clocks), note=_source(clocks, "detect")),
        Figure(
            name="Requests harmed",
            value=f"{harm.bad} of {harm.total}",
            note=f"{harm.hidden} of them behind an HTTP 200" if harm.bad else "every answer ended well",
        ),
        Figure(
            name="Tokens lost", value=f"{harm.tokens_lost:,}", note=f"and {harm.tokens_wasted:,} made for cut answers"
        ),
    ]
    during = next((sli for sli in slis if sli.stretch.name == "during"), None)
    if during is not None and during.goodput is not None:
        low, high = (show(bound, Dimension.SHARE) for bound in during.interval)
        figures.append(
            Figure(
                name="Goodput during", value=show(during.goodput, Dimension.SHARE), note=f"95% interval {low} to {high}"
            )
        )
    if guard is not None:
        figures.append(_guardrail(guard))
    return tuple(figures)


def _guardrail(guard: GuardrailFacts) -> Figure:
    value = f"{guard.leaks} leaks" if guard.leaks else show(guard.unguarded_seconds, Dimension.DURATION)
    under = guard.figure("fail-open", UNDER_FAULT)
    note = "no tripwire was answered or stopped under fault"
    if under is not None and under.value is not None:
        low, high = (show(bound, Dimension.SHARE) for bound in under.interval)
        note = f"{show(under.value, Dimension.SHARE)} of {under.total} tripwires answered under fault ({low} to {high})"
    return Figure(name="Guardrail open", value=value, note=note)


def _seconds(value: float) -> str:
    return show(value, Dimension.DURATION)


def _interval(clocks: ClockFacts, name: str) -> Elapsed:
    return next(one for one in clocks.elapsed if one.name == name)


def _detected(clocks: ClockFacts) -> str:
    seconds = _interval(clocks, "TTD").seconds
    if seconds is not None:
        return "before harm" if seconds <= 0 else show(seconds, Dimension.DURATION)
    return "never" if clocks.broken_seconds else "no harm"


def _source(clocks: ClockFacts, name: str) -> str:
    """What a clock was read off, or why it is missing."""
    clock = next(one for one in clocks.moments if one.name == name)
    return clock.source or clock.why


def _recovered(clocks: ClockFacts) -> str:
    seconds = _interval(clocks, "TTR").seconds
    if seconds is not None:
        return f"recovered {show(seconds, Dimension.DURATION)} after the first harm"
    return _source(clocks, "recover")
