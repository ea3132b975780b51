"""Untrusted bytes to a tree. Bounded in bytes, values and depth; no tags, no objects, one document, no surprises.

The parser's events are read one by one, so a bomb is noticed while it is being built and nothing recurses. An alias
costs what it stands for without being copied.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import yaml

from drillbook.document import scalars, syntax
from drillbook.document.node import Document, List, Mapping, Node, Scalar
from drillbook.errors import InvalidFileError, Problem

MAX_BYTES = 256 * 1024
MAX_VALUES = 5_000
MAX_ITEMS = 500
"""Of one list or mapping."""
MAX_DEPTH = 40
MAX_TEXT = 10_000
"""Characters of one text."""
MAX_PROBLEMS = 100
"""After so many the file is something else than was meant, and nobody reads on."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq")} | {"!"}


class _StopError(Exception):
    """Nothing more of this file can be read; its problem is already noted."""


def read(path: Path) -> Document:
    """Read a file.

    Raises:
        InvalidFileError: there is no such file, or it cannot be read. What is wrong inside is in ``problems``.

    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            what = "a folder" if path.is_dir() else "no regular file"
            raise InvalidFileError.of(path, [Problem(str(path), 0, 0, f"this is {what}, and a YAML file is wanted")])
        with path.open("rb") as file:
            return parse(file.read(MAX_BYTES + 1), str(path))
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise InvalidFileError.of(path, [Problem(str(path), 0, 0, f"cannot be read: {reason}")]) from error


def parse(data: bytes, file: str) -> Document:
    """Read the text of a file. Never raises: all that is wrong is in the document's ``problems``."""
    document = Document(file, "", hashlib.sha256(data).hexdigest())
    text, wrong = syntax.decode(data, file, MAX_BYTES)
    if wrong:
        document.problems.append(wrong)
        return document
    document.text = text
    builder = _Builder(document)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except _StopError:
        return document
    except yaml.YAMLError as error:
        document.problems.append(syntax.explain(error, document))
        return document
    if isinstance(builder.root, Mapping):
        document.root = builder.root
    elif builder.root is None or (isinstance(builder.root, Scalar) and builder.root.value is None):
        document.problems.append(Problem(file, 1, 1, "the file is empty", "`drillbook init` writes one to start from"))
    else:
        what = scalars.kind([] if isinstance(builder.root, List) else "")
        document.problems.append(
            document.at(builder.root.start, f"the file is {what}, and a mapping is wanted: lines of 'key: value'")
        )
    return document


class _Builder:
    """Grows the tree from the parser's events."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.root: Node | None = None
        self.documents = 0
        self.stack: list[tuple[List | Mapping, str | None]] = []
        """The open collections, each with its anchor."""
        self.keys: list[Scalar | None] = []
        """For each open mapping the key that waits for its value."""
        self.anchors: dict[str, Node] = {}
        self.values = 0

    def note(self, node_start: int, message: str, hint: str = "", *, width: int = 1) -> None:
        self.document.problems.append(self.document.at(node_start, message, hint, width=width))
        if len(self.document.problems) >= MAX_PROBLEMS:
            raise _StopError

    def stop(self, start: int, message: str, hint: str = "") -> NoReturn:
        self.note(start, message, hint)
        raise _StopError

    def take(self, event: Any) -> None:
        handle: Callable[[int, int, Any], None] | None = {
            yaml.DocumentStartEvent: self._document,
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._open,
            yaml.MappingStartEvent: self._open,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
        }.get(type(event))
        if handle is not None:
            handle(event.start_mark.index, event.end_mark.index, event)

    def _document(self, start: int, _: int, __: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self.stop(start, "a second document begins here ('---')", "a file holds one document: make two files of it")

    def _scalar(self, start: int, end: int, event: Any) -> None:
        self._refuse_tag(start, event)
        value: scalars.Value = event.value
        if len(event.value) > MAX_TEXT:
            self.stop(start, f"a text of {len(event.value):,} characters; {MAX_TEXT:,} are the most")
        if not event.style and event.tag is None:
            try:
                value = scalars.resolve(event.value)
            except ValueError as error:
                self.note(start, str(error), width=end - start)
        node = Scalar(start, end, value=value)
        if self._wants_key():
            # Keys are words: `on:`, `1:` and `null:` are taken as they are written.
            node.value = event.value
        self._place(node, event.anchor)

    def _alias(self, start: int, end: int, event: Any) -> None:
        node = self.anchors.get(event.anchor)
        if node is None:
            self.stop(
                start,
                f"*{event.anchor} refers to nothing that was finished before it",
                f"an anchor (&{event.anchor}) comes first; in a text that begins with '*', use quotes",
            )
        if self._wants_key() and not isinstance(node, Scalar):
            self.stop(start, "a key is a plain word, and this alias is not")
        self._place(node, None, start)

    def _open(self, start: int, end: int, event: Any) -> None:
        self._refuse_tag(start, event)
        if self._wants_key():
            hint = "a text that begins with '{' or '[' needs quotes around it"
            self.stop(start, "a key is a plain word, and this is a list or a mapping", hint)
        if len(self.stack) >= MAX_DEPTH:
            self.stop(start, f"nested more than {MAX_DEPTH} deep")
        node = List(start, end) if isinstance(event, yaml.SequenceStartEvent) else Mapping(start, end)
        self.stack.append((node, event.anchor))
        self.keys.append(None)

    def _close(self, _: int, end: int, __: Any) -> None:
        node, anchor = self.stack.pop()
        self.keys.pop()
        node.end = max(end, node.start + 1)
        self._place(node, anchor)

    def _refuse_tag(self, start: int, event: Any) -> None:
        if event.tag is not None and event.tag not in _PLAIN_TAGS:
            shown = event.tag.replace("tag:yaml.org,2002:", "!!")
            hint = "a text that begins with '!' needs quotes around it"
            self.note(start, f"the tag {shown[:60]!r} is not allowed: files hold data and construct no objects", hint)

    def _wants_key(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1][0], Mapping) and self.keys[-1] is None

    def _place(self, node: Node, anchor: str | None, alias_at: int | None = None) -> None:
        if anchor is not None:
            self.anchors[anchor] = node
        start = node.start if alias_at is None else alias_at
        self.values += 1
        if not self.stack:
            self.root = node
            return
        parent, _ = self.stack[-1]
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if len(parent.items if isinstance(parent, List) else parent.entries) >= MAX_ITEMS:
            self.stop(start, f"more than {MAX_ITEMS} items in one {'list' if isinstance(parent, List) else 'mapping'}")
        if max(self.values, parent.size) > MAX_VALUES:
            self.stop(start, f"the file holds more than {MAX_VALUES:,} values (aliases counted as what they stand for)")
        if len(self.stack) + node.depth > MAX_DEPTH + 1:
            self.stop(start, f"nested more than {MAX_DEPTH} deep")
        if isinstance(parent, List):
            parent.items.append(node)
        elif (key := self.keys[-1]) is None:
            assert isinstance(node, Scalar)
            self.keys[-1] = node
            if node.value == "<<":
                self.note(start, "merge keys ('<<') are not part of YAML 1.2 and not read", width=2)
        else:
            self.keys[-1] = None
            self._pair(parent, key, node)

    def _pair(self, parent: Mapping, key: Scalar, node: Node) -> None:
        name = str(key.value)
        if name in parent.entries:
            line, _ = self.document.place(parent.entries[name][0].start)
            message = f"the key {name[:60]!r} is said twice; first in line {line}"
            self.note(key.start, message, width=key.end - key.start)
            return
        parent.entries[name] = (key, node)
