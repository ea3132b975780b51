"""What a plain scalar means: the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema).

PyYAML's own rules are those of YAML 1.1, where ``on``, ``yes`` and ``no`` are booleans and ``1:30`` is ninety.
"""

from __future__ import annotations

import math
import re

Value = str | int | float | bool | None

_WORDS: dict[str, Value] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_ENDLESS = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_DIGITS = 18
"""No quantity of ours needs more digits, and all of these survive JSON."""


def resolve(text: str) -> Value:
    """The value of a plain scalar.

    Raises:
        ValueError: a number that is too large, or none at all.

    """
    if text in _WORDS:
        return _WORDS[text]
    if _ENDLESS.fullmatch(text):
        raise ValueError(f"{text} is no number that can be measured against; put it in quotes if it is a text")
    whole = _INTEGER.fullmatch(text)
    if whole or _BASED.fullmatch(text) or _FLOAT.fullmatch(text):
        if len(text) > _DIGITS * 2 or (whole and len(text.lstrip("+-0")) > _DIGITS):
            raise ValueError("this number is too long; put it in quotes if it is a text")
        if whole:
            return int(text)
        value = int(text, 0) if _BASED.fullmatch(text) else float(text)
        if not math.isfinite(value):
            raise ValueError(f"{text} is larger than any number can be; put it in quotes if it is a text")
        return value
    return text


def kind(value: object) -> str:
    """What a value is, in words for people."""
    match value:
        case None:
            return "empty"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case dict():
            return "a mapping"
        case _:
            return "a list"
