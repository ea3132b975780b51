"""The tree of a YAML file: plain values, each with its place in the text."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from drillbook.document.scalars import Value
from drillbook.errors import Problem

Path = Sequence[str | int]

_WIDTH = 110
"""Characters of a line that an excerpt shows at most."""


@dataclass(slots=True, eq=False)
class Node:
    """``start`` and ``end`` are offsets into the text; ``size`` and ``depth`` count this node and all below it."""

    start: int
    end: int
    size: int = 1
    depth: int = 1


@dataclass(slots=True, eq=False)
class Scalar(Node):
    value: Value = None


@dataclass(slots=True, eq=False)
class List(Node):
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Mapping(Node):
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)
    """Each key's own node and its value."""


@dataclass(eq=False)
class Document:
    """One YAML file, read. ``problems`` are those of the YAML itself; without a ``root`` nothing else can be said."""

    file: str
    text: str
    sha256: str = ""
    """Of the file's bytes as they were read."""
    root: Mapping | None = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def value(self) -> dict[str, Any]:
        """Plain dicts, lists and scalars: what ``json.loads`` would give."""
        return {} if self.root is None else {key: _plain(node) for key, (_, node) in self.root.entries.items()}

    def find(self, path: Path) -> tuple[Node | None, list[str | int], Scalar | None]:
        """The deepest node on ``path``, the part of the path that exists, and the key that the node hangs on.

        Elements that the file does not have (a union's tag, a missing key) are passed over.
        """
        node, key, real = self.root, None, list[str | int]()
        found: Node | None = node
        for step in path:
            if isinstance(found, Mapping) and step in found.entries:
                key, found = found.entries[str(step)]
                real.append(step)
            elif isinstance(found, List) and isinstance(step, int) and step < len(found.items):
                key, found = None, found.items[step]
                real.append(step)
        return found, real, key

    def value_at(self, path: Path) -> object:
        node, _, _ = self.find(path)
        return None if node is None else _plain(node)

    def problem(
        self, path: Path, message: str, hint: str = "", *, on_key: bool = False, inside: int | None = None
    ) -> Problem:
        """A problem with the value at ``path``: its key if ``on_key``; from character ``inside`` of its text on."""
        node, _, key = self.find(path)
        if on_key and key is not None:
            node = key
        if node is None:
            return Problem(self.file, 0, 0, message, hint)
        if inside is not None and isinstance(node, Scalar) and isinstance(node.value, str):
            start = self._inside(node, node.value, inside)
            words = self.text[start : max(node.end, start)].split(maxsplit=1)
            return self.at(start, message, hint, width=len(words[0].rstrip("'\"")) if words else 1)
        return self.at(node.start, message, hint, width=0 if node is self.root else node.end - node.start)

    def at(self, offset: int, message: str, hint: str = "", *, width: int = 1) -> Problem:
        """A problem at an offset of the text, with an excerpt and a caret; no excerpt if ``width`` is 0."""
        line, column = self.place(offset)
        excerpt = self._excerpt(line, column, width) if width else ""
        return Problem(self.file, line, column, message, hint, excerpt)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, both from 1."""
        line = bisect.bisect_right(self._lines, min(max(offset, 0), len(self.text)))
        return line, min(offset, len(self.text)) - self._lines[line - 1] + 1

    @cached_property
    def _lines(self) -> list[int]:
        return [0] + [index + 1 for index, char in enumerate(self.text) if char == "\n"]

    def _excerpt(self, line: int, column: int, width: int) -> str:
        begin = self._lines[line - 1]
        end = self._lines[line] - 1 if line < len(self._lines) else len(self.text)
        first = max(0, column - 1 - _WIDTH // 2) if end - begin > _WIDTH else 0
        part = self.text[begin + first : min(end, begin + first + _WIDTH)]
        shown = "".join(char if char.isprintable() else " " for char in part).rstrip()
        if not shown.strip():
            return ""
        caret = column - 1 - first
        number, blank = str(line), " " * len(str(line))
        marks = "^" * max(1, min(width, len(shown) - caret))
        return f"{number} | {shown}\n{blank} | {' ' * caret}{marks}"

    def _inside(self, node: Scalar, value: str, offset: int) -> int:
        """The offset in the text of the ``offset``-th character of a scalar, through quotes and folded lines.

        Escapes in double quotes are not undone: from the first one on, the place of the escape is given.
        """
        at = node.start
        match self.text[at : at + 1]:
            case "'" | '"':
                at += 1
            case "|" | ">":
                at = self.text.find("\n", at) + 1 or at
        for char in value[:offset]:
            while at < node.end and self.text[at] != char and self.text[at].isspace() and not char.isspace():
                at += 1
            if at >= node.end or (self.text[at] != char and not (char.isspace() and self.text[at].isspace())):
                return min(at, max(node.start, node.end - 1))
            at += 1
        while at < node.end and self.text[at].isspace():
            at += 1
        if at >= node.end or offset >= len(value):
            # The end of the sentence: point at its last character rather than at the line that follows.
            return max(node.start, node.start + len(self.text[node.start : node.end].rstrip("'\" \r\n")) - 1)
        return at


def _plain(node: Node) -> Any:
    match node:
        case Mapping():
            return {key: _plain(value) for key, (_, value) in node.entries.items()}
        case List():
            return [_plain(item) for item in node.items]
        case Scalar():
            return node.value
    raise TypeError(type(node))
