"""Which series a query reads: enough of PromQL's grammar to name them, so that a misspelt one can be told."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass

_TOKEN = re.compile(
    r"""(?P<skip>\s+|\#[^\n]*)
    |(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
    |(?P<number>(?:0x[0-9a-fA-F]+|(?:[0-9]+(?:ms|[smhdwy]))+|[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)(?![\w:]))
    |(?P<name>[A-Za-z_:][\w:]*)
    |(?P<match>=~|!~|!=|=)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_GROUPING = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_WORDS = _GROUPING | {"and", "or", "unless", "bool", "offset", "atan2", "inf", "nan", "start", "end"}


@dataclass(frozen=True)
class Selector:
    """One vector selector; ``name`` is empty where only labels select."""

    name: str
    labels: tuple[str, ...]
    """The names of the labels that it compares."""
    text: str
    """As it stands in the query, without range and offset."""


def selectors(promql: str) -> list[Selector]:
    """Every series that the query reads, in its order; of text that is no PromQL whatever can be made out."""
    tokens = [match for match in _TOKEN.finditer(promql) if match.lastgroup != "skip"]
    found: list[Selector] = []
    place = 0
    while place < len(tokens):
        token = tokens[place]
        after = tokens[place + 1].group() if place + 1 < len(tokens) else ""
        if token.lastgroup == "name" and token.group().lower() in _GROUPING and after == "(":
            place = _past(tokens, place + 1, ")")
        elif token.group() == "[":
            place = _past(tokens, place, "]")
        elif token.lastgroup == "name" and not _is_word(token.group(), after):
            end = _past(tokens, place + 1, "}") if after == "{" else place + 1
            found.append(_selector(token.group(), promql, tokens[place:end]))
            place = end
        elif token.group() == "{":
            end = _past(tokens, place, "}")
            found.append(_selector("", promql, tokens[place:end]))
            place = end
        else:
            place += 1
    return list(dict.fromkeys(found))


def _is_word(name: str, after: str) -> bool:
    """Keywords, functions (``rate(``) and aggregations (``sum by``)."""
    return after == "(" or after.lower() in ("by", "without") or name.lower() in _WORDS


def _past(tokens: list[re.Match[str]], place: int, closing: str) -> int:
    """The place behind the next ``closing``."""
    while place < len(tokens) and tokens[place].group() != closing:
        place += 1
    return place + 1


def _selector(name: str, promql: str, tokens: list[re.Match[str]]) -> Selector:
    labels = [
        token.group()
        for token, following in itertools.pairwise(tokens[1:])
        if token.lastgroup == "name" and following.lastgroup == "match"
    ]
    if not name and "__name__" in labels:
        place = next(place for place, token in enumerate(tokens) if token.group() == "__name__")
        if tokens[place + 1].group() == "=":
            name = tokens[place + 2].group()[1:-1]
    own = tuple(label for label in labels if label != "__name__")
    return Selector(name, own, promql[tokens[0].start() : tokens[-1].end()])
