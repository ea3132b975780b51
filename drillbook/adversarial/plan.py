"""A plan of attacks: which packs and garak probes, how many prompts of each, how fast, and what should hold of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from drillbook import catalog
from drillbook.adversarial import packs
from drillbook.document import reading
from drillbook.document.refusals import told
from drillbook.errors import InvalidFileError, UsageError
from drillbook.model.expectation import Quantifier, suggest
from drillbook.model.experiment import AttackSpec, Expected, FileModel, Rate
from drillbook.model.units import Dimension

SIGNALS = "signals"
"""The folder of ``adversarial`` whose YAML files are no plans."""


class Part(FileModel):
    """One source of prompts."""

    pack: str | None = None
    """A pack's name, or a JSONL file beside the plan."""
    garak: tuple[str, ...] = ()
    """Probes of garak: ``dan``, ``dan.DanInTheWild``, ``encoding.InjectBase64``."""
    buffs: tuple[str, ...] = ()
    """Buffs of garak that rewrite its prompts: ``encoding.Base64``."""
    config: dict[str, dict[str, Any]] = {}
    """garak's own configuration of its plugins: ``{probes: {fitd: {FITD: {red-team…}}}}``, as in its files."""
    cap: int | None = Field(default=None, ge=1)
    """Most prompts, chosen by the seed; of each probe, where this is garak's."""
    weight: int = Field(default=1, ge=1, le=1000)
    """Its share of the rate, beside the weights of the other parts."""
    system: str = ""
    """What the operator says first, where a prompt does not say it."""

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if bool(self.pack) == bool(self.garak):
            raise ValueError("a part names either a pack or probes of garak")
        if (self.buffs or self.config) and not self.garak:
            raise ValueError("'buffs' and 'config' are garak's, and of garak's probes only")
        return self


class Plan(FileModel):
    """One YAML file of ``adversarial/``."""

    title: str = Field(min_length=1, max_length=200)
    why: str = ""
    rate: Rate = 2.0
    """Of all parts together."""
    stream: bool = True
    max_tokens: int = Field(default=96, ge=1, le=100_000)
    seed: int = 1
    parts: tuple[Part, ...] = Field(min_length=1)
    expect: tuple[Expected, ...] = ()
    """What should hold where the plan is run by itself (``drillbook attack``)."""

    def told(self, spec: AttackSpec) -> Plan:
        """The plan with what an experiment says instead."""
        said = {"rate": spec.rate, "stream": spec.stream, "max_tokens": spec.max_tokens, "seed": spec.seed}
        parts = self.parts
        if spec.cap is not None:
            parts = tuple(part.model_copy(update={"cap": spec.cap}) for part in parts)
        return self.model_copy(
            update={key: value for key, value in said.items() if value is not None} | {"parts": parts}
        )


def entries(start: Path | None = None) -> list[catalog.Entry]:
    """All plans, the user's own first."""
    found = catalog.entries("adversarial", start)
    return [entry for entry in found if entry.path.suffix != ".jsonl" and entry.group != SIGNALS]


def find(name: str, beside: Path | None = None) -> Path:
    """The file of a plan: a name, or a YAML file relative to ``beside``.

    Raises:
        UsageError: there is none, or it lies outside the drillbook of the file that names it.

    """
    if name.endswith((".yaml", ".yml")):
        path = (beside or Path()) / name
        if not path.is_file():
            raise UsageError(f"there is no plan at {path}", "`drillbook list plans` shows what there is")
        if catalog.leads_out(path, beside):
            raise UsageError(f"{path} leads out of the drillbook", "put a copy into it, and name that")
        return path
    known = {entry.name: entry.path for entry in reversed(entries(beside))}
    if name not in known:
        raise UsageError(f"no plan is called {name!r}", suggest(name, tuple(known)))
    return known[name]


def read(path: Path, probes: Mapping[str, Dimension | None] | None = None) -> Plan:
    """Read and check one plan; its packs are looked up, and not read.

    ``probes`` are those that ``expect`` may name, with their dimensions; without any, ``expect`` is left out.

    Raises:
        InvalidFileError: with every problem of the file, each at its place.

    """
    document = reading.read(path)
    plan = None
    if document.root is not None:
        try:
            wanted = {key: value for key, value in document.value.items() if probes is not None or key != "expect"}
            plan = Plan.model_validate_json(
                json.dumps(wanted), strict=True, by_alias=True, by_name=False, context={"probes": probes or {}}
            )
        except ValidationError as error:
            document.problems += told(error, document, Plan)
    for index, wished in enumerate(plan.expect if plan is not None else ()):
        if wished.is_event or wished.quantifier is not Quantifier.ONCE or wished.during is not None:
            message = "a plan by itself has no phases and no fault: it is judged as a whole"
            document.problems.append(document.problem(["expect", index], message, "for example: guardrail.leaks == 0"))
    for index, part in enumerate(plan.parts if plan is not None else ()):
        try:
            if part.pack is not None:
                packs.find(part.pack, path.parent)
        except UsageError as error:
            document.problems.append(document.problem(["parts", index, "pack"], error.message, error.hint))
    if plan is None or document.problems:
        raise InvalidFileError.of(path, document.problems)
    return plan


def of_pack(name: str) -> Plan:
    """A plan of one pack, for an experiment or a command line that names only this."""
    return Plan(title=f"The pack {name}", parts=(Part(pack=name),))


def resolved(spec: AttackSpec, beside: Path | None = None) -> tuple[Plan, Path | None]:
    """What an experiment's ``attacks`` entry asks for, and the folder that the plan's own files are relative to.

    Raises:
        UsageError: no plan or pack of that name.
        InvalidFileError: the plan is wrong.

    """
    if spec.plan is not None:
        path = find(spec.plan, beside)
        return read(path).told(spec), path.parent
    assert spec.pack is not None
    packs.find(spec.pack, beside)
    return of_pack(spec.pack).told(spec), beside
