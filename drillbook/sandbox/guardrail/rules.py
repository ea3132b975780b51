"""The reference classifier's rules: patterns, and verbatim parts of the system prompt in an answer. Pure."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

RUN_OF_WORDS = 6
"""So many words of the system prompt in a row are its text, and no coincidence."""
_TOKEN = re.compile(r"[a-z0-9][a-z0-9_-]{6,}")
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class Judged:
    """The classifier's answer; ``rule`` is empty where nothing was found."""

    flagged: bool
    rule: str = ""


@cache
def _patterns(rail: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    text = (files("drillbook.sandbox.guardrail") / "rules.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)
    return tuple(
        (row["rule"], re.compile(pattern)) for row in rows if rail in row["rails"] for pattern in row["patterns"]
    )


def folded(text: str) -> str:
    """Lower case, compatibility forms made plain, invisible characters dropped, spaces joined."""
    plain = unicodedata.normalize("NFKC", text)
    seen = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    return " ".join(seen.casefold().split())


def judge(rail: str, text: str, secret: str = "") -> Judged:
    """Ask the rules of ``rail`` (``input`` or ``output``). ``secret`` is what an answer may not repeat."""
    plain = folded(text)
    for rule, pattern in _patterns(rail):
        if pattern.search(plain):
            return Judged(True, rule)
    if rail == "output" and secret and _repeats(plain, folded(secret)):
        return Judged(True, "system-prompt")
    return Judged(False)


def _repeats(answer: str, secret: str) -> bool:
    """Whether a code word of the secret, or six of its words in a row, stand in the answer."""
    codes = (token for token in _TOKEN.findall(secret) if any(c.isdigit() for c in token))
    if any(code in answer for code in codes):
        return True
    words, said = _WORD.findall(secret), f" {' '.join(_WORD.findall(answer))} "
    runs = range(len(words) - RUN_OF_WORDS + 1)
    return any(f" {' '.join(words[place : place + RUN_OF_WORDS])} " in said for place in runs)
