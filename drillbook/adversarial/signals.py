"""How guardrails say that they blocked, failed or looked away: data files (``adversarial/signals``), one a stack.

All that a signal asks for must hold. Where several signals hold, the outcome decides which counts, not the order of
files: a guardrail that says it failed has given no verdict, even where the answer also looks like a block.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from drillbook import catalog
from drillbook.adversarial.evidence import Evidence
from drillbook.document import reading
from drillbook.document.refusals import told
from drillbook.errors import InvalidFileError
from drillbook.model.attack import AttackOutcome
from drillbook.model.experiment import FileModel

ORDER = (AttackOutcome.GUARD_ERROR, AttackOutcome.BLOCKED, AttackOutcome.UNGUARDED, AttackOutcome.DETECTED)


Condition = Callable[[Evidence], bool]


class When(FileModel):
    """What must be seen. Patterns are regular expressions of Python, searched anywhere, whatever the case."""

    status: tuple[int, ...] = ()
    code: tuple[str, ...] = ()
    """Of the error, or of the error within it."""
    type: tuple[str, ...] = ()
    message: str = ""
    """A pattern of what the server said went wrong."""
    text: tuple[str, ...] = ()
    """The whole answer, but for white space."""
    matches: str = ""
    """A pattern of the answer."""
    finish_reason: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    """A pattern by the header's name in lower case."""
    fields: dict[str, str] = {}
    """A pattern by a place in the body, such as ``warnings.type``."""

    @field_validator("message", "matches", "headers", "fields")
    @classmethod
    def _are_patterns(cls, value: str | dict[str, str]) -> str | dict[str, str]:
        for pattern in [value] if isinstance(value, str) else value.values():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no pattern: {error}") from None
        return value

    @model_validator(mode="after")
    def _asks_for_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("it asks for nothing, and would hold of every answer")
        return self

    def conditions(self) -> tuple[Condition, ...]:
        """What is asked for, as questions to an answer; the cheapest first, for thousands of answers a second."""
        found: list[Condition] = []
        if self.status:
            found.append(lambda seen: seen.status in self.status)
        if self.finish_reason:
            found.append(lambda seen: seen.record.finish_reason in self.finish_reason)
        if self.text:
            found.append(lambda seen: seen.words in self.text)
        found += [_header(name, _pattern(pattern)) for name, pattern in self.headers.items()]
        if self.code:
            found.append(lambda seen: any(_names(error) & set(self.code) for error in seen.errors))
        if self.type:
            found.append(lambda seen: any(str(error.get("type")) in self.type for error in seen.errors))
        found += [_field(place, _pattern(pattern)) for place, pattern in self.fields.items()]
        if self.message:
            message = _pattern(self.message)
            found.append(lambda seen: bool(seen.said) and message.search(seen.said) is not None)
        if self.matches:
            matches = _pattern(self.matches)
            found.append(lambda seen: matches.search(seen.words) is not None)
        return tuple(found)


class Signal(FileModel):
    outcome: Literal["blocked", "guard-error", "unguarded", "detected-not-blocked"]
    name: str = Field(min_length=1)
    """What a report says decided."""
    when: When


class Stack(FileModel):
    """One guardrail's signals."""

    title: str
    seen_in: str = ""
    """The version whose source or answers these were read from."""
    signals: tuple[Signal, ...] = Field(min_length=1)


class Signals:
    """All signals there are, ready to be asked."""

    def __init__(self, stacks: Iterable[tuple[str, Stack]]) -> None:
        self._asked: list[tuple[AttackOutcome, str, tuple[Condition, ...]]] = []
        self.texts: set[str] = set()
        """Whole answers that are a guardrail's, word for word."""
        for name, stack in stacks:
            for signal in stack.signals:
                self._asked.append((AttackOutcome(signal.outcome), f"{name}: {signal.name}", signal.when.conditions()))
                self.texts.update(signal.when.text)
        self._asked.sort(key=lambda asked: ORDER.index(asked[0]))

    def hit(self, seen: Evidence) -> tuple[AttackOutcome, str] | None:
        """The outcome that a guardrail's own words or marks prove, and which; None where none does."""
        for outcome, name, conditions in self._asked:
            for holds in conditions:
                if not holds(seen):
                    break
            else:
                return outcome, name
        return None


def load(start: Path | None = None) -> Signals:
    """The signals that ship and the user's own.

    Raises:
        InvalidFileError: one of the files is wrong.

    """
    found = [entry for entry in catalog.entries("adversarial", start) if entry.group == "signals"]
    return Signals((entry.name, read(entry.path)) for entry in sorted(found, key=lambda entry: entry.name))


def read(path: Path) -> Stack:
    """One file.

    Raises:
        InvalidFileError: with every problem of the file.

    """
    document = reading.read(path)
    stack = None
    if document.root is not None:
        try:
            stack = Stack.model_validate_json(json.dumps(document.value), strict=True, by_alias=True, by_name=False)
        except ValidationError as error:
            document.problems += told(error, document, Stack)
    if stack is None or document.problems:
        raise InvalidFileError.of(path, document.problems)
    return stack


def _names(error: dict[str, object]) -> set[str]:
    return {str(error[key]) for key in ("code", "inner", "error_code") if error.get(key) is not None}


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


def _header(name: str, pattern: re.Pattern[str]) -> Condition:
    return lambda seen: name in seen.headers and pattern.search(seen.headers[name]) is not None


def _field(place: str, pattern: re.Pattern[str]) -> Condition:
    path = place.split(".")
    return lambda seen: any(pattern.search(json.dumps(value).strip('"')) for value in seen.values(path))
