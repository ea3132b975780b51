"""How findings are told: one sentence with what was measured, of how much, and what was wanted."""

from __future__ import annotations

from drillbook.experiments.windows import Answer
from drillbook.model import units
from drillbook.model.expectation import Expectation, Operator, Quantifier
from drillbook.model.units import Dimension
from drillbook.model.verdict import Finding, Verdict
from drillbook.probes import guardrail, registry, sessions
from drillbook.probes.index import Indexed
from drillbook.probes.reading import Kind, Reading

_WISHES = {
    Operator.LT: "less than",
    Operator.LE: "at most",
    Operator.GT: "more than",
    Operator.GE: "at least",
    Operator.EQ: "exactly",
    Operator.NE: "anything but",
}


def seconds(value: float | None) -> str:
    return "-" if value is None else units.show(value, Dimension.DURATION)


def wish(wanted: Expectation) -> str:
    """``at least 95%``, with its clauses."""
    if wanted.operator is None or wanted.value is None:
        return wanted.text
    if wanted.alert:
        return "its silence"
    text = f"{_WISHES[wanted.operator]} {units.show(wanted.value, wanted.dimension or Dimension.COUNT)}"
    text += f" for {seconds(wanted.hold)}" if wanted.hold is not None else ""
    return text + (f" within {seconds(wanted.within)} of {wanted.anchor.value}" if wanted.within is not None else "")


def direction(wanted: Expectation) -> int:
    """1 where small values are the bad ones, -1 where large ones are."""
    return 1 if wanted.operator in (Operator.GE, Operator.GT) else -1


def measured(index: Indexed, wanted: Expectation, answer: Answer, quantifier: Quantifier) -> str:
    """``goodput was 97.2% of 214 requests``."""
    reading = answer.reading
    if wanted.alert:
        fired = "" if reading.value is None else "fired" if reading.high else "stayed silent"
        return f"alert {wanted.alert} {fired or 'cannot be judged'}" + _when(index, answer, quantifier)
    if reading.value is None:
        return f"{wanted.probe} cannot be said" + _when(index, answer, quantifier)
    text = f"{wanted.probe} was {_figure(wanted, reading)}{_samples(wanted, reading)}"
    return text + _when(index, answer, quantifier)


def _when(index: Indexed, answer: Answer, quantifier: Quantifier) -> str:
    if quantifier is Quantifier.ONCE:
        return ""
    start, end = (index.relative(moment) for moment in (answer.window.start, answer.window.end))
    return f" between {start:.1f}s and {end:.1f}s"


def _figure(wanted: Expectation, reading: Reading) -> str:
    dimension = wanted.dimension or Dimension.COUNT
    value = _extreme(wanted, reading)
    text = units.show(value, dimension)
    if reading.at_least:
        return f"at least {text}"
    if reading.low == reading.high:
        return text
    return f"{text} at its {'lowest' if value == reading.low else 'highest'}"


def _extreme(wanted: Expectation, reading: Reading) -> float:
    """The value of a level that matters: the one least favourable to what is wanted."""
    value = reading.value if reading.value is not None else float("nan")
    if reading.low is None or reading.high is None:
        return value
    if wanted.operator in (Operator.GE, Operator.GT):
        return reading.low
    if wanted.operator in (Operator.LE, Operator.LT):
        return reading.high
    return reading.low if reading.low != wanted.value else reading.high


def _samples(wanted: Expectation, reading: Reading) -> str:
    probe = registry.lookup(wanted.probe, wanted.dimension)
    if probe.kind is not Kind.WINDOW:
        return ""
    if wanted.dimension is Dimension.SHARE:
        return f" of {reading.samples} {_counted(wanted.probe)}"
    return f" over {reading.samples} samples" if wanted.dimension is Dimension.DURATION else ""


def _counted(probe: str) -> str:
    if probe.startswith(guardrail.PREFIX):
        return "prompts"
    if probe in sessions.NAMES:
        return "sessions"
    return "polls" if probe.endswith("-health") else "requests"


def write(
    index: Indexed, wanted: Expectation, role: str, verdict: Verdict, reason: str, answer: Answer | None = None
) -> Finding:
    """A finding with its figures."""
    reading = answer.reading if answer else None
    value: float | None = None
    if reading is not None and reading.value is not None:
        value = index.relative(reading.value) if wanted.is_event else _extreme(wanted, reading)
    return Finding(
        expectation=wanted.text,
        role=role,
        verdict=verdict,
        reason=reason,
        value=value,
        limit=wanted.within if wanted.is_event else wanted.value,
        dimension=str((Dimension.DURATION if wanted.is_event else wanted.dimension) or ""),
        samples=reading.samples if reading else None,
        window=(index.relative(answer.window.start), index.relative(answer.window.end)) if answer else None,
        interval=reading.interval if reading else None,
        evidence=reading.evidence if reading else (),
    )
