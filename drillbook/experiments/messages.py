"""What pydantic found, told to the person who wrote the file: what, where, what is allowed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from pydantic_core import ErrorDetails

from drillbook.document import scalars
from drillbook.document.node import Document, Scalar
from drillbook.document.node import Mapping as MappingNode
from drillbook.errors import Problem
from drillbook.experiments import schema
from drillbook.model.expectation import suggest

_WANTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "expectation": "a sentence such as 'goodput >= 95%'",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys and values",
    "model_type": "a mapping of keys and values",
    "model_attributes_type": "a mapping of keys and values",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_PATTERNS = {
    r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$": "lower-case letters, digits, '-' and '.', 63 characters at most",
    "^https?://": "a URL that begins with http:// or https://",
}
_EXAMPLES = {
    "title": "for example: title: A killed GPU pod is replaced before users notice",
    "load": "for example: load: {rate: 6/s}",
    "rate": "for example: rate: 6/s",
    "steady-state": "for example: steady-state: [goodput >= 95%]",
    "method": "for example: method: [{at: 10s, fault: pod-kill, role: engine, count: 1}]",
    "expect": "for example: expect: [recovered within 90s of inject]",
}

MOST = 100
"""Problems that are told of one file; nobody reads on."""

Location = Sequence[str | int]


def problems(errors: Sequence[ErrorDetails], document: Document) -> list[Problem]:
    """One problem for each place that is wrong; the alternatives of a union make one together."""

    def place(error: ErrorDetails) -> tuple[str | int, ...]:
        own = error["loc"][-1:] if error["type"] == "missing" else ()
        return (*document.find(error["loc"])[1], *own)

    told = [error for error in errors if not _is_echo(error, document)]
    groups = [(path, list(group)) for path, group in itertools.groupby(told, key=place)]
    found = [_problem(group, path, document) for path, group in groups[:MOST]]
    if len(groups) > MOST:
        found.append(Problem(document.file, 0, 0, f"... and {len(groups) - MOST} more problems"))
    return found


def _is_echo(error: ErrorDetails, document: Document) -> bool:
    """A list whose items are wrong is also called too short by pydantic, which counts only the good ones."""
    return error["type"] == "too_short" and bool(document.value_at(error["loc"]))


def _problem(errors: list[ErrorDetails], path: Location, document: Document) -> Problem:
    error = errors[0]
    kind, location, context = error["type"], error["loc"], error.get("ctx", {})
    name, value = label(path), document.value_at(path)
    say = partial(document.problem, path)
    match kind:
        case "missing":
            return say(f"{name} is missing", _EXAMPLES.get(str(path[-1]), _about(location)), on_key=True)
        case "extra_forbidden":
            keys = schema.at(location[:-1]).get("properties", {})
            return say(f"{shown(path[-1])} is no key here", suggest(str(path[-1]), keys), on_key=True)
        case "expectation" if "at" in context:
            return _expectation(path, context, document)
        case "union_tag_not_found":
            return say(f"{name} does not say which fault", f"add 'fault:' with one of {', '.join(_faults(location))}")
        case "union_tag_invalid":
            word = document.value_at([*path, "fault"])
            hint = suggest(str(word), tuple(_faults(location)))
            return document.problem([*path, "fault"], f"no fault is called {shown(word)}", hint)
        case "too_short" | "string_too_short":
            return say(f"{name} is empty", _EXAMPLES.get(str(path[-1]), ""), on_key=True)
        case "too_long" | "string_too_long":
            what = "characters" if kind == "string_too_long" else "items"
            return say(f"{name} is too long: {context.get('max_length')} {what} at most")
        case "string_pattern_mismatch":
            pattern = str(context.get("pattern"))
            return say(
                f"{name} cannot be {shown(value)}", f"allowed: {_PATTERNS.get(pattern, f'what matches {pattern}')}"
            )
        case "value_error":
            return say(f"{name}: {context['error']}", _with_unit(value, str(context["error"])))
        case "literal_error" if len(errors) == 1 and "enum" in (here := schema.at(location)):
            return say(f"{name} cannot be {shown(value)}", suggest(str(value), tuple(map(str, here["enum"]))))
        case _ if kind in _BOUNDS:
            key, words = _BOUNDS[kind]
            return say(f"{name} must be {words} {context[key]}, and {shown(value)} is not")
    return _wrong_type(errors, path, document)


def _wrong_type(errors: list[ErrorDetails], path: Location, document: Document) -> Problem:
    value = document.value_at(path)
    wanted = " or ".join(dict.fromkeys(_wanted(error) for error in errors))
    hint = ""
    if isinstance(value, str | int | float) and wanted == "a list":
        hint = f"a list of one is written [{shown(value).strip(chr(39))}], or on its own line after '- '"
    elif wanted == "a text" and not isinstance(value, dict | list | None):
        hint = f"put it in quotes: '{value}'"
    elif wanted == "true or false" and isinstance(value, str) and value.lower() in ("yes", "no", "on", "off"):
        hint = "yes, no, on and off are plain words in YAML 1.2"
    elif wanted == "a whole number" and isinstance(value, str) and value.isdecimal():
        hint = "take the quotes away"
    if value is None:
        return document.problem(path, f"{label(path)} is empty, and {wanted} is wanted", hint, on_key=True)
    what = scalars.kind(value)
    told = what if isinstance(value, dict | list) else f"{shown(value)}, {what}"
    return document.problem(path, f"{label(path)} wants {wanted}, and this is {told}", hint)


def _wanted(error: ErrorDetails) -> str:
    if error["type"] == "literal_error":
        return str(error.get("ctx", {}).get("expected", "another word"))
    return _WANTED.get(error["type"]) or error["msg"]


def _expectation(path: Location, context: Mapping[str, Any], document: Document) -> Problem:
    message, hint, offset = str(context["message"]), str(context.get("hint", "")), int(context["at"])
    node, _, _ = document.find(path)
    if isinstance(node, MappingNode):
        return document.problem([*path, *_culprit(node, str(context["text"]), offset)], message, hint)
    return document.problem(path, message, hint, inside=offset)


def _culprit(node: MappingNode, text: str, offset: int) -> list[str]:
    """The key of an expectation's YAML form whose value (or name) the offending word comes from."""
    word = text[offset:].split(maxsplit=1)[0] if text[offset:].strip() else ""
    for key, (_, value) in node.entries.items():
        if word and (key == word or (isinstance(value, Scalar) and word in str(value.value).split())):
            return [key]
    return []


def _faults(location: Location) -> list[str]:
    return list(schema.at(location).get("discriminator", {}).get("mapping", {}))


def _about(location: Location) -> str:
    return str(schema.at(location).get("description", "")).partition("\n")[0]


def _with_unit(value: object, message: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    unit = {"a duration": f"{value}s", "a share": f"{value}%", "a rate": f"{value}/s"}
    return next((f"write {text}, if that is what is meant" for what, text in unit.items() if what in message), "")


def label(path: Location) -> str:
    """A place in words: ``'load'``, ``step 2``, ``'at' of step 2``, ``item 1 of 'expect'``."""
    match list(path):
        case []:
            return "the file"
        case ["method", int(index), *rest]:
            step = f"step {index + 1}"
            return f"{shown(rest[-1])} of {step}" if rest else step
        case [*_, str(parent), int(index)]:
            return f"item {index + 1} of {shown(parent)}"
        case [*_, last]:
            return shown(last)
    raise AssertionError(path)


def shown(value: object) -> str:
    """A value of the file in a message: quoted, and cut where it is long."""
    text = str(value)
    text = text if len(text) <= 60 else text[:57] + "…"
    return repr(text) if isinstance(value, str) else text
