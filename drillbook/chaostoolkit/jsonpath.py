"""JSONPath as tolerances use it: RFC 9535 (https://www.rfc-editor.org/rfc/rfc9535) without functions.

Equality in a filter may also be written with one ``=``, as the library that Chaos Toolkit uses wants it.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Step = Callable[[Any, Any], Iterator[Any]]
"""From the root and one value to the values that it selects."""
Truth = Callable[[Any, Any], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_\u0080-\uffff][\w\u0080-\uffff-]*)|(?P<number>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r"|(?P<text>'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")|(?P<mark>\.\.|&&|\|\||==|!=|<=|>=|[$@.\[\]*?(),:<>=!]))"
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_WORDS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class JSONPath:
    """A path, ready to be asked."""

    steps: tuple[Step, ...]

    def find(self, root: Any) -> list[Any]:
        """All values that it selects, in the document's order."""
        return list(_walk(self.steps, root, root))


def parse(text: str) -> JSONPath:
    """Read a path.

    Raises:
        ValueError: it is none; the message says where.

    """
    reader = _Reader(text)
    reader.want("$")
    steps = reader.steps()
    if reader.token is not None:
        raise ValueError(f"{reader.token!r} was not expected at character {reader.at}")
    return JSONPath(steps)


def _walk(steps: tuple[Step, ...], root: Any, value: Any) -> Iterator[Any]:
    if not steps:
        yield value
        return
    for found in steps[0](root, value):
        yield from _walk(steps[1:], root, found)


class _Reader:
    """One token ahead."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.end = text.strip(), 0, 0
        self.kind = ""
        self.token: str | None = ""
        self.step()

    def step(self) -> str:
        last, self.at = self.token or "", self.end
        if self.end >= len(self.text):
            self.kind, self.token = "", None
            return last
        match = _TOKEN.match(self.text, self.end)
        if match is None:
            raise ValueError(f"{self.text[self.end]!r} at character {self.end + 1}")
        self.kind, self.end = match.lastgroup or "", match.end()
        self.token = match[self.kind]
        return last

    def want(self, mark: str) -> None:
        if self.token != mark:
            raise ValueError(f"{mark!r} is wanted at character {self.at + 1}")
        self.step()

    def took(self, *marks: str) -> str:
        """The token, if it is one of these marks and no quoted text; it is then read."""
        return self.step() if self.kind == "mark" and self.token in marks else ""

    def steps(self) -> tuple[Step, ...]:
        found: list[Step] = []
        while mark := self.took(".", "..", "["):
            if mark == "..":
                found.append(_descendants)
                mark = self.took("[") or "."
            found.append(self.selectors() if mark == "[" else self.child())
        return tuple(found)

    def child(self) -> Step:
        if self.took("*"):
            return _children
        if self.kind not in ("name", "number"):
            raise ValueError(f"a name is wanted at character {self.at + 1}")
        return _key(self.step())

    def selectors(self) -> Step:
        found = [self.selector()]
        while self.took(","):
            found.append(self.selector())
        self.want("]")
        return lambda root, value: (each for select in found for each in select(root, value))

    def selector(self) -> Step:
        if self.took("*"):
            return _children
        if self.took("?"):
            test = self.either()
            return lambda root, value: (each for each in _children(root, value) if test(root, each))
        if self.kind == "text":
            return _key(_unquoted(self.step()))
        first = int(self.step()) if self.kind == "number" else None
        if self.took(":"):
            last = int(self.step()) if self.kind == "number" else None
            pace = int(self.step()) if self.took(":") and self.kind == "number" else None
            if pace == 0:
                raise ValueError("a slice with step 0")
            return _slice(slice(first, last, pace))
        if first is None:
            raise ValueError(f"an index, a quoted name, * or ? is wanted at character {self.at + 1}")
        return _index(first)

    def either(self) -> Truth:
        parts = [self.all()]
        while self.took("||"):
            parts.append(self.all())
        return lambda root, value: any(part(root, value) for part in parts)

    def all(self) -> Truth:
        parts = [self.test()]
        while self.took("&&"):
            parts.append(self.test())
        return lambda root, value: all(part(root, value) for part in parts)

    def test(self) -> Truth:
        if self.took("!"):
            inner = self.test()
            return lambda root, value: not inner(root, value)
        if self.took("("):
            inner = self.either()
            self.want(")")
            return inner
        left = self.operand()
        if mark := self.took(*_COMPARE):
            right, compare = self.operand(), _COMPARE[mark]
            return lambda root, value: _holds(compare, left(root, value), right(root, value))
        return lambda root, value: bool(left(root, value))

    def operand(self) -> Callable[[Any, Any], list[Any]]:
        if mark := self.took("@", "$"):
            steps = self.steps()
            return lambda root, value: list(_walk(steps, root, root if mark == "$" else value))
        if self.kind == "text":
            literal: Any = _unquoted(self.step())
        elif self.kind == "number":
            literal = json.loads(self.step())
        elif self.kind == "name" and self.token in _WORDS:
            literal = _WORDS[self.step()]
        else:
            raise ValueError(f"@, $ or a value is wanted at character {self.at + 1}")
        return lambda root, value: [literal]


def _holds(compare: Callable[[Any, Any], bool], left: list[Any], right: list[Any]) -> bool:
    """A comparison of single values; of nothing, or of values that have no order, only inequality holds."""
    if len(left) != 1 or len(right) != 1:
        return compare is operator.ne and left != right
    try:
        return compare(left[0], right[0])
    except TypeError:
        return False


def _unquoted(text: str) -> str:
    inner = text[1:-1]
    if text[0] == "'":
        inner = inner.replace("\\'", "'").replace('"', '\\"')
    found = json.loads(f'"{inner}"')
    assert isinstance(found, str)
    return found


def _children(_: Any, value: Any) -> Iterator[Any]:
    yield from value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _descendants(root: Any, value: Any) -> Iterator[Any]:
    yield value
    for child in _children(root, value):
        yield from _descendants(root, child)


def _key(name: str) -> Step:
    def select(_: Any, value: Any) -> Iterator[Any]:
        if isinstance(value, dict) and name in value:
            yield value[name]

    return select


def _index(place: int) -> Step:
    def select(_: Any, value: Any) -> Iterator[Any]:
        if isinstance(value, list) and -len(value) <= place < len(value):
            yield value[place]

    return select


def _slice(part: slice) -> Step:
    def select(_: Any, value: Any) -> Iterator[Any]:
        if isinstance(value, list):
            yield from value[part]

    return select
