"""An experiment read aloud: what will be done, and what must hold, for someone who has never seen one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from drillbook.model.expectation import Expectation, Operator, Quantifier
from drillbook.model.experiment import AttackSpec, Experiment, PodStep, Step
from drillbook.model.units import Dimension, show

_OPERATORS = {
    Operator.LT: "below",
    Operator.LE: "at most",
    Operator.GT: "above",
    Operator.GE: "at least",
    Operator.EQ: "exactly",
    Operator.NE: "anything but",
}
_QUANTIFIERS = {
    Quantifier.ONCE: "",
    Quantifier.ALWAYS: "at every moment, ",
    Quantifier.EVENTUALLY: "sooner or later, and from then on, ",
    Quantifier.SOMETIMES: "at some moment, ",
}


def sections(experiment: Experiment) -> Iterator[tuple[str, list[str]]]:
    """Headings, each with its sentences."""
    load, target = experiment.load, experiment.target
    where = f"the {target.stack} deployment" if target.stack != "auto" else "the vLLM deployment that is found"
    where += f" in the namespace {target.namespace}" if target.namespace else ""
    answers = f"{load.output_tokens} tokens each, {'streamed' if load.stream else 'in one piece'}"
    yield "Users", [f"send {show(load.rate, Dimension.RATE)} of '{load.prompts}' prompts to {where}; {answers}."]
    if experiment.attacks:
        yield "Attackers", [*map(_attack, experiment.attacks)]
    seconds = show(experiment.baseline, Dimension.DURATION)
    yield f"First, for {seconds}, must be true", [sentence(wanted) for wanted in experiment.steady_state]
    yield "Then", [*map(_step, experiment.method)]
    yield "What should hold", [sentence(wanted) for wanted in experiment.expect]
    if experiment.abort_when:
        yield "It stops at once, and is refuted, when", [sentence(wanted) for wanted in experiment.abort_when]
    undone = any(step.held for step in experiment.method)
    longest = show(experiment.observe, Dimension.DURATION)
    after = [
        f"It is watched for at most {longest} after the last step, and less once everything is settled.",
        "Everything is put back, however the run ends." if undone else "What was hit has to come back by itself.",
    ]
    if experiment.playbook:
        after.append(f"The playbook '{experiment.playbook}' is filled in with what was measured.")
    yield "Afterwards", after


def _attack(spec: AttackSpec) -> str:
    rate = f"{show(spec.rate, Dimension.RATE)} of " if spec.rate is not None else ""
    what = f"the plan '{spec.plan}'" if spec.plan is not None else f"the pack '{spec.pack}'"
    return f"send {rate}{what}, beside the users and all the time."


def sentence(wanted: Expectation) -> str:
    """``goodput is at least 95% at every moment``."""
    said = f"the alert {wanted.alert} fires" if wanted.alert else f"{wanted.probe} happens"
    if wanted.alert and not wanted.is_event:
        return f"the alert {wanted.alert} stays silent" + (f" during {wanted.during}" if wanted.during else "")
    if wanted.operator is not None and wanted.value is not None and wanted.dimension is not None:
        said = f"{wanted.probe} is {_OPERATORS[wanted.operator]} {show(wanted.value, wanted.dimension)}"
    quantifier = "" if wanted.within is not None else _QUANTIFIERS[wanted.quantifier]
    clauses = [f"{quantifier}{said}"]
    if wanted.hold is not None:
        clauses.append(f"for {show(wanted.hold, Dimension.DURATION)} without a break")
    if wanted.during is not None:
        clauses.append(f"during {wanted.during}")
    if wanted.within is not None:
        clauses.append(f"within {show(wanted.within, Dimension.DURATION)} of the {_ANCHORS[wanted.anchor]}")
    return " ".join(clauses)


_ANCHORS = {"inject": "injection", "effect": "first harm that users see", "undo": "undo"}


def _step(step: Step) -> str:
    said = f"after {show(step.at, Dimension.DURATION)}: {step.fault}" if step.at else f"at once: {step.fault}"
    common = set(Step.model_fields)
    if isinstance(step, PodStep):
        common |= set(PodStep.model_fields)
        pods = f"the pod{'s' if len(step.names) > 1 else ''} {', '.join(step.names)}"
        said += f" on {pods if step.names else _count(step)}"
    options = step.model_dump(mode="json", by_alias=True, exclude=common, exclude_none=True)
    said += "".join(f", {key} {_value(value)}" for key, value in options.items())
    if step.for_ is not None:
        said += f", held for {show(step.for_, Dimension.DURATION)}, then undone"
    if step.bites is not None:
        said += f"; it has bitten when {sentence(step.bites)}"
    return said


def _count(step: PodStep) -> str:
    if step.count == "all":
        return f"all {step.role} pods"
    return f"{step.count} {step.role} pod{'' if step.count == 1 else 's'}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
