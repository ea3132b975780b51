"""Prompt sets: those that come with drillbook (``chat``, ``short``, ``long``), or a JSONL file of the user's own.

A line is ``{"prompt": "text"}`` or ``{"messages": [{"role": "user", "content": "text"}, …]}``; other keys are left
alone, so that data sets can be used as they are.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path

import msgspec

from drillbook.errors import InvalidFileError, Problem, UsageError

SHAPE = 'a line is {"prompt": "text"} or {"messages": [{"role": "user", "content": "text"}]}'
LARGEST = 64 << 20
"""Bytes of a prompt file; a larger one is a mistake, or belongs sampled first."""


class _Message(msgspec.Struct):
    role: str
    content: str


class _Row(msgspec.Struct):
    prompt: str | None = None
    messages: list[_Message] | None = None


def names() -> tuple[str, ...]:
    """The sets that come with drillbook."""
    folder = resources.files(__package__) / "prompts"
    return tuple(sorted(entry.name.removesuffix(".jsonl") for entry in folder.iterdir()))


def read(name: str) -> list[str | list[dict[str, str]]]:
    """All prompts of a set or of a ``*.jsonl`` file, in order.

    Raises:
        UsageError: no such set or file.
        InvalidFileError: lines that are no prompts, all of them.

    """
    if name.endswith(".jsonl"):
        return _parse(_bytes(Path(name)), name)
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(
            f"there is no prompt set {name!r}",
            f"{hint}the sets are {', '.join(names())}; a set of your own is a file that ends in .jsonl",
        )
    return _parse((resources.files(__package__) / "prompts" / f"{name}.jsonl").read_bytes(), f"{name}.jsonl")


def distinct(rows: Sequence[str | Sequence[Mapping[str, str]]], times: int, picks: Iterable[int]) -> Iterator[str]:
    """Prompts of ``times`` texts each, none of which begins as another does: a prefix cache has nothing of them."""
    chosen = iter(picks)
    for number in itertools.count(1):
        yield "\n\n".join([f"Case {number}.", *(_text(rows[next(chosen)]) for _ in range(times))])


def _text(row: str | Sequence[Mapping[str, str]]) -> str:
    return row if isinstance(row, str) else "\n\n".join(message["content"] for message in row)


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST:
            raise UsageError(f"{path} is larger than {LARGEST >> 20} MiB", "take a sample of it")
        return path.read_bytes()
    except OSError as error:
        hint = "a prompt file is named relative to its experiment"
        raise UsageError(f"{path} cannot be read: {error.strerror}", hint) from error


def _parse(data: bytes, file: str) -> list[str | list[dict[str, str]]]:
    decode = msgspec.json.Decoder(_Row).decode
    prompts: list[str | list[dict[str, str]]] = []
    problems = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            problems.append(Problem(file, number, 1, f"this is no prompt: {error}", SHAPE))
            continue
        if row.prompt:
            prompts.append(row.prompt)
        elif row.messages:
            prompts.append([{"role": message.role, "content": message.content} for message in row.messages])
        else:
            problems.append(Problem(file, number, 1, "neither a prompt nor messages stand here", SHAPE))
    if not prompts and not problems:
        problems.append(Problem(file, 0, 0, "the file holds no prompts", SHAPE))
    if problems:
        raise InvalidFileError.of(file, problems)
    return prompts
