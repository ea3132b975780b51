"""What the shell offers after TAB: names of experiments."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from drillbook import catalog
from drillbook.errors import DrillbookError


def experiments(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Experiments whose names begin so, and files; a broken installation offers files alone."""
    try:
        found = catalog.entries("experiments")
    except DrillbookError:
        found = []
    names = [CompletionItem(entry.name, help=entry.group) for entry in found if entry.name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]
