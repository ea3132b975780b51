"""One of drillbook's experiments as one of Chaos Toolkit's, which calls drillbook's faults and probes.

Both runners take it. What Chaos Toolkit has no words for (attacks, sliding windows, abort conditions, bites, playbooks)
is not dropped in silence: it is listed in the experiment's ``extensions``, and ``untold`` gives it for a warning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from drillbook.chaostoolkit.extension.place import CONFIGURATION, ENVIRONMENT, LOAD, SLO, TARGET
from drillbook.chaostoolkit.extension.signature import python_name
from drillbook.experiments import attacks
from drillbook.experiments.load import Loaded
from drillbook.model.expectation import Anchor, Expectation, Operator, Quantifier
from drillbook.model.experiment import Experiment, Step
from drillbook.model.units import Dimension
from drillbook.probes.reading import Kind, Probe
from drillbook.probes.registry import PROBES

Json = dict[str, Any]

ACTIONS = "drillbook.chaostoolkit.extension.actions"
PROBE_MODULE = "drillbook.chaostoolkit.extension.probes"
_MOST = 1e12
"""Beyond any quantity of ours; Chaos Toolkit's ranges have two ends."""


def export(loaded: Loaded) -> tuple[Json, list[str]]:
    """The experiment, and what of it could not be said."""
    experiment = loaded.experiment
    asked = [(wanted, _expected(wanted)) for wanted in experiment.expect]
    untold = [wanted.text for wanted, probe in asked if probe is None]
    untold += [f"attacks: {spec.plan or spec.pack}" for spec in experiment.attacks]
    untold += [f"abort-when: {wanted.text}" for wanted in experiment.abort_when]
    untold += [f"bites: {step.bites.text}" for step in experiment.method if step.bites is not None]
    before = [(wanted, _steady(wanted, experiment.baseline)) for wanted in experiment.steady_state]
    untold += [f"steady-state: {wanted.text}" for wanted, probe in before if probe is None]
    # Chaos Toolkit asks in this order, and stops at the first that is missed: events are waited for before users are
    # served again, and the figures are of all the time until then.
    finals = sorted((probe for _, probe in asked if probe is not None), key=lambda probe: not _waits(probe))
    method = [_action("start_load"), *_steps(experiment)]
    if not any(map(_waits, finals)):
        method[-1] = _paused(method[-1], after=experiment.observe)  # no event ends the observation earlier
    title = experiment.title
    return {
        "title": title,
        "description": " ".join(experiment.why.split()) or title,
        "tags": list(experiment.tags) or ["drillbook"],
        "configuration": _configuration(experiment),
        "steady-state-hypothesis": {
            "title": "Users are served",
            "probes": [*finals, *(probe for _, probe in before if probe is not None)],
        },
        "method": method,
        "rollbacks": [_action("undo"), _action("stop_load")],
        "runtime": {"rollbacks": {"strategy": "always"}},
        "extensions": [
            {"name": "drillbook", "experiment": loaded.path.name, "sha256": loaded.sha256, "untold": untold}
        ],
    }, untold


def _configuration(experiment: Experiment) -> Json:
    """Each from the environment, with what the experiment says as default."""
    said = {
        **experiment.target.model_dump(mode="json", include={"context", "namespace", "stack", "endpoint"}),
        **experiment.load.model_dump(mode="json", include=set(LOAD)),
        **experiment.slo.model_dump(mode="json"),
    }
    if said.get("context") == "sandbox":
        said |= {"sandbox": "default", "context": None}
    keys = [key for key in (*TARGET, *LOAD, *SLO) if said.get(key) is not None or key in TARGET]
    return {
        CONFIGURATION + key: {"type": "env", "key": ENVIRONMENT + key.upper(), "default": str(said.get(key) or "")}
        for key in keys
    }


def _steps(experiment: Experiment) -> Iterator[Json]:
    """Faults and the ends of those that are held, in the order of their time; pauses keep the time between them."""
    happenings: list[tuple[float, int, Json]] = []
    for index, step in enumerate(experiment.method):
        happenings.append((step.at, index, _fault(step)))
        if step.for_ is not None:
            undo = {**_action("undo", fault=step.fault), "name": f"undo {step.fault}"}
            happenings.append((step.at + step.for_, index, undo))
    clock = 0.0
    for moment, _, activity in sorted(happenings, key=lambda item: item[:2]):
        yield _paused(activity, before=moment - clock) if moment > clock else activity
        clock = max(clock, moment)


def _paused(activity: Json, **seconds: float) -> Json:
    return {**activity, "pauses": {**activity.get("pauses", {}), **seconds}}


def _fault(step: Step) -> Json:
    said = step.model_dump(mode="json", exclude={"fault", "at", "for_", "bites"}, exclude_unset=True)
    arguments = {key: list(value) if isinstance(value, tuple) else value for key, value in said.items()}
    return {**_action(python_name(step.fault), **arguments), "name": step.fault}


def _action(func: str, **arguments: Any) -> Json:
    return {"type": "action", "name": func.replace("_", " "), "provider": _python(ACTIONS, func, arguments)}


def _python(module: str, func: str, arguments: Json) -> Json:
    found: Json = {"type": "python", "module": module, "func": func}
    return {**found, "arguments": arguments} if arguments else found


def _waits(probe: Json) -> bool:
    return "timeout" in probe["provider"].get("arguments", {})


def _known(wanted: Expectation) -> Probe | None:
    """What guardrails did is not known to Chaos Toolkit, where nothing attacks."""
    return None if attacks.asks(wanted) else PROBES.get(wanted.probe)


def _steady(wanted: Expectation, seconds: float) -> Json | None:
    if _known(wanted) is None or wanted.quantifier not in (Quantifier.ONCE, Quantifier.ALWAYS):
        return None
    return _probe(wanted, {"seconds": seconds}, _range(wanted))


def _expected(wanted: Expectation) -> Json | None:
    """An event that is waited for after the method, or a figure since the first fault."""
    probe = _known(wanted)
    if probe is None or wanted.during is not None or wanted.hold is not None or wanted.anchor is Anchor.EFFECT:
        return None
    if probe.kind is Kind.EVENT:
        if wanted.within is None:
            return None
        arguments = {"timeout": wanted.within} | ({"of": "undo"} if wanted.anchor is Anchor.UNDO else {})
        return _after(_probe(wanted, arguments, [0, wanted.within]))
    if wanted.quantifier is not Quantifier.ONCE:
        return None
    return _after(_probe(wanted, {"seconds": 0} if probe.kind in (Kind.WINDOW, Kind.LEVEL) else {}, _range(wanted)))


def _after(probe: Json | None) -> Json | None:
    """The probe, such that nothing is missed as long as nothing was done: a hypothesis is asked then, too."""
    if probe is not None:
        least, most = probe["tolerance"]["range"]
        probe["provider"].setdefault("arguments", {})["before"] = min(max(0, least), most)
    return probe


def _probe(wanted: Expectation, arguments: Json, limits: list[float] | None) -> Json | None:
    if limits is None:
        return None
    provider = _python(PROBE_MODULE, python_name(wanted.probe), arguments)
    tolerance = {"type": "range", "range": limits}
    return {"type": "probe", "name": wanted.text, "tolerance": tolerance, "provider": provider}


def _range(wanted: Expectation) -> list[float] | None:
    """The closed range that says the same; None where there is none (``!=``)."""
    value = wanted.value
    if value is None:
        return None
    most = 1.0 if wanted.dimension is Dimension.SHARE else _MOST
    match wanted.operator:
        case Operator.GE:
            return [value, most]
        case Operator.GT:
            return [math.nextafter(value, math.inf), most]
        case Operator.LE:
            return [0, value]
        case Operator.LT:
            return [0, math.nextafter(value, -math.inf)]
        case Operator.EQ:
            return [value, value]
    return None
