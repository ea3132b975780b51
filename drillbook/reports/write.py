"""From a run folder to its reports: read, judge, render, and put each file in place in one step."""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol, cast

from drillbook.errors import DrillbookError, UsageError
from drillbook.experiments import check, journal
from drillbook.model.expectation import suggest
from drillbook.probes.index import Indexed
from drillbook.reports import renderers
from drillbook.reports.facts import Facts, facts
from drillbook.reports.redaction import wordless


class Renderer(Protocol):
    """One format: a module in ``renderers``."""

    FILENAME: str

    def render(self, facts: Facts) -> str | None:
        """The file's text; None where this run has nothing for it."""


def formats() -> tuple[str, ...]:
    """The names of all formats, each that of its file in ``renderers``."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(renderers.__path__)))


def renderer(name: str) -> Renderer:
    """The renderer of a format.

    Raises:
        UsageError: there is none of that name.

    """
    if name not in formats():
        raise UsageError(f"no report format is called {name!r}", suggest(name, formats()))
    return cast(Renderer, importlib.import_module(f"{renderers.__name__}.{name}"))


def write(folder: Path, formats: Iterable[str] | None = None, *, redact: bool = False) -> dict[str, Path]:
    """Judge the journal in a run folder, and write its reports into the same folder. Gives the path of each.

    ``redact`` leaves the words of adversarial prompts and of their answers out of the reports.

    Raises:
        UsageError: no such format.
        InvalidFileError: a template or the playbook that it uses is wrong.
        DrillbookError: the journal cannot be read, or the folder cannot be written.

    """
    history = Indexed.of(journal.read(folder))  # indexed once, for the judgement and for the facts
    told = wordless(history) if redact else history
    return write_facts(folder, facts(told, check.judge(history)), formats)


def write_facts(folder: Path, facts: Facts, formats: Iterable[str] | None = None) -> dict[str, Path]:
    """Render first, write then: either all files are new, or none was touched by a template's error."""
    texts = render(facts, formats)
    return {name: _put(folder / renderer(name).FILENAME, text) for name, text in texts.items()}


def render(facts: Facts, wanted: Iterable[str] | None = None) -> Mapping[str, str]:
    """The text of each format that has something to say about this run."""
    rendered = {name: renderer(name).render(facts) for name in (wanted if wanted is not None else formats())}
    return {name: text for name, text in rendered.items() if text is not None}


def _put(path: Path, text: str) -> Path:
    """Write beside it and rename: a reader sees the old file or the new one, never a half."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise DrillbookError(f"{path} cannot be written: {error.strerror}", "is the run folder writable?") from error
    return path
