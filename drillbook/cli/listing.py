"""What there is, as rows that a table and a script read alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from drillbook import catalog
from drillbook.errors import InvalidFileError

Row = dict[str, str]


def experiments() -> list[Row]:
    from drillbook.experiments.load import load

    rows = []
    for entry in catalog.entries("experiments"):
        row = _file(entry)
        try:
            experiment = load(entry.path).experiment
        except InvalidFileError as error:
            row |= {"title": _invalid(error), "faults": ""}
        else:
            faults = dict.fromkeys(step.fault for step in experiment.method)
            row |= {"title": experiment.title, "faults": ", ".join(faults)}
        rows.append(row)
    return rows


def faults() -> list[Row]:
    from drillbook.faults.registry import FAULTS

    return [
        {"name": name, "undo": "held, then undone" if fault.step.held else "nothing to undo", "summary": fault.summary}
        for name, fault in FAULTS.items()
    ]


def probes() -> list[Row]:
    from drillbook.probes.registry import PROBES

    rows = [
        {"name": name, "counts": probe.dimension.value if probe.dimension else "event", "help": probe.help}
        for name, probe in PROBES.items()
    ]
    declared = catalog.declared_probes()
    mine = [{"name": name, "counts": dimension.value} for name, dimension in declared.items()]
    return rows + [row | {"help": "declared in probes/"} for row in mine if row["name"] not in PROBES]


def playbooks() -> list[Row]:
    from drillbook.playbooks import texts
    from drillbook.playbooks.load import load

    rows = []
    for entry in catalog.entries("playbooks"):
        try:
            title = load(entry.path).title
        except InvalidFileError as error:
            title = _invalid(error)
        rows.append(_file(entry) | {"title": texts.fill(title, {}, texts.Language.PROSE)})
    return rows


def stacks() -> list[Row]:
    from drillbook.targets.stack import stacks as known

    return [
        {"name": name, "title": stack.title, "namespace": stack.namespace, "roles": ", ".join(stack.roles)}
        for name, stack in known().items()
    ]


def prompts() -> list[Row]:
    from drillbook.load import prompts as sets

    return [{"name": name, "prompts": str(len(sets.read(name)))} for name in sets.names()]


def packs() -> list[Row]:
    from drillbook.adversarial import packs as shelf

    rows = []
    for entry in shelf.entries():
        try:
            prompts = shelf.read(entry.path)
        except InvalidFileError as error:
            told = {"prompts": _invalid(error), "kinds": ""}
        else:
            kinds = ", ".join(dict.fromkeys(prompt.kind.value for prompt in prompts))
            told = {"prompts": str(len(prompts)), "kinds": kinds}
        rows.append(_file(entry) | {"group": ""} | told)
    return rows


def plans() -> list[Row]:
    from drillbook.adversarial import plan as shelf
    from drillbook.probes.registry import dimensions

    rows = []
    for entry in shelf.entries():
        try:
            plan = shelf.read(entry.path, dimensions())
        except InvalidFileError as error:
            told = {"title": _invalid(error), "sends": ""}
        else:
            sends = ", ".join(part.pack or f"garak {' '.join(part.garak)}" for part in plan.parts)
            told = {"title": plan.title, "sends": sends if len(sends) <= 80 else f"{sends[:79]}…"}
        rows.append(_file(entry) | told)
    return rows


def alerts() -> list[Row]:
    from drillbook.playbooks import alerts as shelf

    return [
        {
            "name": rule["alert"],
            "severity": rule.get("labels", {}).get("severity", ""),
            "waits": str(rule.get("for", "0s")),
            "playbook": rule.get("labels", {}).get("playbook", ""),
            "expression": " ".join(str(rule["expr"]).split()),
        }
        for rule in shelf.rules()
    ]


KINDS: Mapping[str, Callable[[], list[Row]]] = {
    "experiments": experiments,
    "faults": faults,
    "probes": probes,
    "packs": packs,
    "plans": plans,
    "playbooks": playbooks,
    "stacks": stacks,
    "prompts": prompts,
    "alerts": alerts,
}


def _file(entry: catalog.Entry) -> Row:
    whose = "drillbook" if entry.own else "yours"
    return {"group": entry.group, "name": entry.name, "from": whose, "file": str(catalog.near(entry.path))}


def _invalid(error: InvalidFileError) -> str:
    count = len(error.problems)
    return f"invalid: {count} problem{'' if count == 1 else 's'} (drillbook validate)"
