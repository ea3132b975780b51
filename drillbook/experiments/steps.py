"""Which steps of a method cannot be meant as they stand."""

from __future__ import annotations

from collections.abc import Iterator

from drillbook.experiments.wrong import Wrong
from drillbook.model.experiment import Experiment, PodStep, Step
from drillbook.model.units import Dimension, show


def check(experiment: Experiment) -> Iterator[Wrong]:
    """What is wrong with single steps, and with steps beside each other."""
    last = max(step.at for step in experiment.method)
    for index, step in enumerate(experiment.method):
        yield from _hold(index, step, last + experiment.observe, experiment)
        yield from _pods(index, step)
        twin = next((place for place, other in enumerate(experiment.method[:index]) if other == step), None)
        if twin is not None:
            hint = "to hit two pods at once write 'count: 2'; to hit twice give the second another 'at'"
            yield Wrong(["method", index], f"step {index + 1} is the same as step {twin + 1}", hint)


def _hold(index: int, step: Step, end: float, experiment: Experiment) -> Iterator[Wrong]:
    if step.for_ is None:
        return
    if not step.held:
        hint = f"leave 'for' out; '{step.fault}' is done in a moment, and what it hit has to come back by itself"
        yield Wrong(["method", index, "for"], f"the fault {step.fault!r} cannot be held", hint)
    elif step.for_ <= 0:
        yield Wrong(["method", index, "for"], "a fault that is held for no time does nothing", "for example: for: 20s")
    elif step.at + step.for_ > end:
        yield Wrong(
            ["method", index, "for"],
            f"this fault would be held until {show(step.at + step.for_, Dimension.DURATION)}, and the observation "
            f"ends at {show(end, Dimension.DURATION)}",
            f"shorten 'for', or raise 'observe' (now {show(experiment.observe, Dimension.DURATION)})",
        )


def _pods(index: int, step: Step) -> Iterator[Wrong]:
    if not isinstance(step, PodStep):
        return
    if step.names and "count" in step.model_fields_set:
        yield Wrong(["method", index, "count"], "'names' already says which pods, and how many", "leave 'count' out")
    if isinstance(step.count, int) and step.count < 1:
        yield Wrong(["method", index, "count"], f"{step.count} pods cannot be hit", "a number from 1 on, or 'all'")
    if len(set(step.names)) < len(step.names):
        yield Wrong(["method", index, "names"], "a pod is named twice")
