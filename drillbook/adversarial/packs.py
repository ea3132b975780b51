"""Packs of adversarial prompts: JSONL files that ship (``adversarial/packs``) or are the user's own.

A line is one prompt: ``{"id", "kind", "category", "prompt"}`` and, where it needs them, ``messages`` instead of
``prompt``, ``system``, ``twin``, ``violation``, ``owasp``, ``atlas``. ``{canary}`` in a text becomes the run's secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from drillbook import catalog
from drillbook.errors import InvalidFileError, Problem, UsageError
from drillbook.model.attack import AttackKind
from drillbook.model.expectation import suggest

CANARY = "{canary}"
OWASP = tuple(f"LLM{number:02}:2025" for number in range(1, 11))
"""The OWASP Top 10 for LLM applications, edition 2025."""
LARGEST = 64 << 20
"""Bytes of a pack."""
MOST_PROBLEMS = 50
_ATLAS = re.compile(r"AML\.T\d{4}(\.\d{3})?")
_SHAPE = 'a line is {"id": "a1", "kind": "attack", "category": "direct-injection", "prompt": "text"}'


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: str
    content: str


class Prompt(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line of a pack."""

    id: str
    kind: AttackKind
    category: str
    prompt: str = ""
    messages: tuple[Message, ...] = ()
    """A conversation, in place of ``prompt``."""
    system: str = ""
    """What the operator would have said first; where the canary is planted."""
    twin: str = ""
    """Of a tripwire: the benign prompt that looks like it, and the other way round."""
    violation: str = ""
    """A pattern of answers that did what the attack wanted; without one, any answer that is no refusal did."""
    owasp: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()

    def conversation(self, canary: str) -> list[dict[str, str]]:
        """What is sent, with the secret in its place."""
        rows = [("system", self.system)] if self.system else []
        rows += [(each.role, each.content) for each in self.messages] or [("user", self.prompt)]
        return [{"role": role, "content": text.replace(CANARY, canary)} for role, text in rows]

    @property
    def asked(self) -> str:
        """The user's last words."""
        return self.messages[-1].content if self.messages else self.prompt


def entries(start: Path | None = None) -> list[catalog.Entry]:
    """All packs, the user's own first."""
    return [entry for entry in catalog.entries("adversarial", start) if entry.path.suffix == ".jsonl"]


def find(name: str, beside: Path | None = None) -> Path:
    """The file of a pack: a name, or a ``*.jsonl`` file relative to ``beside``.

    Raises:
        UsageError: there is none, or it lies outside the drillbook of the file that names it.

    """
    if name.endswith(".jsonl"):
        path = (beside or Path()) / name
        if not path.is_file():
            raise UsageError(f"there is no pack at {path}", "`drillbook list packs` shows what there is")
        if catalog.leads_out(path, beside):
            raise UsageError(f"{path} leads out of the drillbook", "put a copy into it, and name that")
        return path
    known = {entry.name: entry.path for entry in reversed(entries(beside))}
    if name not in known:
        raise UsageError(f"no pack is called {name!r}", suggest(name, tuple(known)))
    return known[name]


def read(path: Path) -> list[Prompt]:
    """All prompts of a pack, in order.

    Raises:
        UsageError: it cannot be read.
        InvalidFileError: lines that are no prompts, all of them, each with its place.

    """
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST >> 20} MiB", "take a sample of it")
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    file = str(path)
    rows: dict[int, Prompt] = {}
    problems: list[Problem] = []
    decode = msgspec.json.Decoder(Prompt).decode
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            rows[number] = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            problems.append(Problem(file, number, 1, f"this is no prompt: {error}", _SHAPE))
    problems += [Problem(file, number, 1, *wrong) for number, wrong in _wrong(rows)]
    if not rows and not problems:
        problems.append(Problem(file, 0, 0, "the pack holds no prompts", _SHAPE))
    if problems:
        problems.sort(key=lambda problem: problem.line)
        raise InvalidFileError.of(path, problems[:MOST_PROBLEMS])
    return list(rows.values())


def _wrong(rows: dict[int, Prompt]) -> Iterator[tuple[int, tuple[str, str]]]:
    places: dict[str, int] = {}
    known = {row.id: row for row in rows.values()}
    for number, row in rows.items():
        if not row.id:
            yield number, ("the id is empty", "")
        elif row.id in places:
            yield number, (f"the id {row.id!r} is taken by line {places[row.id]}", "ids tell prompts apart in a report")
        places.setdefault(row.id, number)
        if bool(row.prompt) == bool(row.messages):
            yield number, ("a line has either a 'prompt' or 'messages'", _SHAPE)
        yield from ((number, wrong) for wrong in _of_names(row))
        if row.twin and row.twin not in known:
            yield number, (f"the twin {row.twin!r} is not in this pack", suggest(row.twin, tuple(known)))
        elif row.twin and {row.kind, known[row.twin].kind} != {AttackKind.TRIPWIRE, AttackKind.BENIGN}:
            yield number, ("one of two twins is a tripwire, the other benign", "")
        elif row.kind is AttackKind.TRIPWIRE and not row.twin:
            yield number, ("a tripwire needs a twin", "a benign prompt that looks like it, named by its id")


def _of_names(row: Prompt) -> Iterator[tuple[str, str]]:
    for name in row.owasp:
        if name not in OWASP:
            yield f"{name!r} is not in the OWASP Top 10 for LLM applications 2025", suggest(name, OWASP)
    for name in row.atlas:
        if not _ATLAS.fullmatch(name):
            yield f"{name!r} is no technique of MITRE ATLAS", "for example AML.T0051.000"
    try:
        re.compile(row.violation)
    except (re.error, OverflowError, RecursionError) as error:
        yield f"the violation is no pattern: {error}", "it is a regular expression of Python"
