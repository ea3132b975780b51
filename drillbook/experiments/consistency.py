"""What each key allows by itself and the file as a whole does not: found before a run would find it out.

Each check yields ``Wrong`` values; ``problems`` gives them their places.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from drillbook import catalog
from drillbook.adversarial import packs, plan
from drillbook.document.node import Document
from drillbook.errors import Problem, UsageError
from drillbook.experiments import attacks, steps
from drillbook.experiments.messages import shown
from drillbook.experiments.wrong import Wrong
from drillbook.load import prompts
from drillbook.model.expectation import Anchor, Expectation, Quantifier, suggest
from drillbook.model.experiment import Experiment
from drillbook.model.units import Dimension, exact, show
from drillbook.probes import registry, sessions
from drillbook.targets.stack import ANY, stacks

LONGEST = 24 * 3600.0
"""Seconds of a whole run; more is a slip of the unit."""
FEWEST_REQUESTS = 5
"""Requests in the baseline below which no steady state can be told."""


def names(document: Document) -> list[Problem]:
    """Names of things that do not exist; asked of the file itself, so that other problems do not hide them."""
    return _placed(document, _names(document))


def problems(experiment: Experiment, document: Document) -> list[Problem]:
    """Everything that cannot work together, each with its place."""
    checks = (_times, _load, _queries, _roles, steps.check, _expectations)
    return _placed(document, (wrong for check in checks for wrong in check(experiment)))


def _placed(document: Document, found: Iterable[Wrong]) -> list[Problem]:
    return [document.problem(wrong.path, wrong.message, wrong.hint) for wrong in found]


def _names(document: Document) -> Iterator[Wrong]:
    here = Path(document.file).parent
    playbook, stack, prompt = (
        document.value_at(path) for path in (["playbook"], ["target", "stack"], ["load", "prompts"])
    )
    if isinstance(playbook, str):
        known = [entry.name for entry in catalog.entries("playbooks", here)]
        yield from _unknown(["playbook"], "playbook", playbook, known)
    if isinstance(stack, str):
        yield from _unknown(["target", "stack"], "stack", stack, ["auto", ANY, *stacks()])
    if isinstance(prompt, str) and prompt.endswith(".jsonl"):
        if reason := _unreadable(here, prompt):
            hint = "a prompt file lies in the experiment's folder or below"
            yield Wrong(["load", "prompts"], f"the prompts {shown(prompt)} {reason}", hint)
    elif isinstance(prompt, str):
        yield from _unknown(["load", "prompts"], "prompt set", prompt, prompts.names())
    yield from _attack_names(document, here)


def _attack_names(document: Document, here: Path) -> Iterator[Wrong]:
    written = document.value_at(["attacks"])
    for index, row in enumerate(written if isinstance(written, list) else ()):
        for key, look in (("plan", plan.find), ("pack", packs.find)):
            name = row.get(key) if isinstance(row, dict) else None
            if not isinstance(name, str):
                continue
            if Path(name).suffix and (reason := _unreadable(here, name)):
                hint = f"the file of a {key} lies in the experiment's folder or below"
                yield Wrong(["attacks", index, key], f"the {key} {shown(name)} {reason}", hint)
                continue
            try:
                look(name, here)
            except UsageError as error:
                yield Wrong(["attacks", index, key], error.message, error.hint)


def _unknown(path: Sequence[str | int], kind: str, name: str, known: Sequence[str]) -> Iterator[Wrong]:
    if name not in known:
        hint = suggest(name, tuple(known)) if known else f"there are no {kind}s yet"
        yield Wrong(path, f"no {kind} is called {shown(name)}", hint)


def _unreadable(folder: Path, name: str) -> str:
    """Why a prompt file may not be read; empty if it may."""
    path = folder / name
    try:
        if not path.resolve().is_relative_to(folder.resolve()):
            return "lie outside the experiment's folder"
        return "" if path.is_file() else "are no file"
    except (OSError, ValueError):
        return "are no file"


def _times(experiment: Experiment) -> Iterator[Wrong]:
    last = max(step.at for step in experiment.method)
    total = experiment.baseline + last + experiment.observe + experiment.settle
    if total > LONGEST:
        message = f"the run would last {show(total, Dimension.DURATION)}, and a day is the most"
        yield Wrong([], message, "look at the units of 'at', 'baseline', 'observe' and 'settle'")
    for index, wanted in enumerate(experiment.expect):
        if wanted.within is not None and wanted.within > last + experiment.observe:
            yield Wrong(
                ["expect", index],
                f"within {show(wanted.within, Dimension.DURATION)} cannot be seen: the observation ends at most "
                f"{show(last + experiment.observe, Dimension.DURATION)} after time zero",
                f"raise 'observe' (now {show(experiment.observe, Dimension.DURATION)})",
            )


def _load(experiment: Experiment) -> Iterator[Wrong]:
    load, expected = experiment.load, experiment.load.rate * experiment.baseline
    if load.rate <= 0:
        yield Wrong(["load", "rate"], "without requests nothing can be measured", "for example: rate: 6/s")
    elif expected < FEWEST_REQUESTS:
        yield Wrong(
            ["baseline"] if "baseline" in experiment.model_fields_set else ["load", "rate"],
            f"about {expected:.1g} requests in the baseline ({show(load.rate, Dimension.RATE)} for "
            f"{show(experiment.baseline, Dimension.DURATION)}) tell nothing of the steady state",
            f"raise 'rate' or 'baseline': {FEWEST_REQUESTS} requests are the least",
        )
    if load.stall_timeout > load.timeout:
        place = "stall-timeout" if "stall_timeout" in load.model_fields_set else "timeout"
        yield Wrong(
            ["load", place],
            f"a request is given up after {show(load.timeout, Dimension.DURATION)}, before it can count as hung "
            f"(stall-timeout {show(load.stall_timeout, Dimension.DURATION)})",
            "'stall-timeout' is the shorter of the two",
        )
    if load.session_header is not None and load.sessions is None:
        yield Wrong(["load", "session-header"], "there are no sessions for this header to name", "load: {sessions: 30}")


def _queries(experiment: Experiment) -> Iterator[Wrong]:
    for name in experiment.queries:
        if name in registry.PROBES:
            message = f"{shown(name)} is the name of a probe that comes with drillbook"
            yield Wrong(["queries", name], message, "give the query another name")


def _roles(experiment: Experiment) -> Iterator[Wrong]:
    known = dict.fromkeys(experiment.target.selectors)
    stack = stacks().get(experiment.target.stack)
    for each in [stack] if stack else stacks().values():
        known |= dict.fromkeys(each.roles)
    for index, step in enumerate(experiment.method):
        role = getattr(step, "role", None)
        if role is not None and role not in known:
            where = f"in the stack {stack.name}" if stack else "in any stack"
            hint = f"{suggest(role, known)}\nyour own: target.selectors: {{{shown(role).strip(chr(39))}: 'app=...'}}"
            yield Wrong(["method", index, "role"], f"no role is called {shown(role)} {where}", hint)


def _expectations(experiment: Experiment) -> Iterator[Wrong]:
    for key, wanted in (
        ("steady-state", experiment.steady_state),
        ("expect", experiment.expect),
        ("abort-when", experiment.abort_when),
    ):
        seen: dict[Expectation, int] = {}
        for index, each in enumerate(wanted):
            first = seen.setdefault(each, index)
            if first != index:
                yield Wrong([key, index], f"the same is said in item {first + 1}")
            yield from _impossible([key, index], each)
            if key != "expect":
                yield from _always_read([key, index], each, key)
            yield from _unasked([key, index], each, experiment)
    undoable = any(step.held for step in experiment.method)
    for index, each in enumerate(experiment.expect):
        if each.within is not None and each.anchor is Anchor.UNDO and not undoable:
            message = "no fault of this method has an undo, so nothing can count from it"
            yield Wrong(["expect", index], message, "write 'of inject'")
    for index, step in enumerate(experiment.method):
        if step.bites is not None:
            yield from _impossible(["method", index, "bites"], step.bites)


def _unasked(path: Sequence[str | int], wanted: Expectation, experiment: Experiment) -> Iterator[Wrong]:
    if attacks.asks(wanted) and not experiment.attacks:
        message = f"nothing is known of {wanted.probe} where no attacks are sent"
        yield Wrong(path, message, "attacks: [{plan: under-fault}]")
    if wanted.probe == "rolled-back-as-declared" and experiment.target.rollback is None:
        message = f"{wanted.probe} asks for what the target declares, and it declares no rollback"
        yield Wrong(path, message, "target: {rollback: {after: progress-deadline, within: 60s}}")
    if wanted.probe in sessions.NAMES and experiment.load.sessions is None:
        yield Wrong(path, f"nothing is known of {wanted.probe} where the load has no sessions", "load: {sessions: 30}")


def _impossible(path: Sequence[str | int], wanted: Expectation) -> Iterator[Wrong]:
    if wanted.dimension is Dimension.SHARE and wanted.value is not None and wanted.value > 1:
        message = f"{wanted.probe} is a share, and {exact(wanted.value, Dimension.SHARE)} is more than all"
        yield Wrong(path, message, "a share lies between 0% and 100%")


def _always_read(path: Sequence[str | int], wanted: Expectation, key: str) -> Iterator[Wrong]:
    """A steady state and an abort condition are read window by window, and know neither phases nor deadlines."""
    what = "a steady state" if key == "steady-state" else "an abort condition"
    if wanted.is_event:
        yield Wrong(path, f"{wanted.probe} is an event, and {what} is a value that can be read at any time")
    elif wanted.within is not None or wanted.during is not None:
        clause = "within" if wanted.within is not None else "during"
        yield Wrong(path, f"{what} holds over its own time and takes no '{clause}'", "'expect' is the place for it")
    elif wanted.quantifier in (Quantifier.EVENTUALLY, Quantifier.SOMETIMES):
        yield Wrong(path, f"{what} takes no '{wanted.quantifier}'", "'expect' is the place for it")
