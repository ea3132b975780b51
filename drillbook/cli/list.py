"""``drillbook list``: which experiments, faults, probes, playbooks, stacks and prompts there are."""

from __future__ import annotations

import json
import sys

import click

from drillbook.cli import listing


@click.command()
@click.argument("kind", type=click.Choice(list(listing.KINDS)), default="experiments")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
def command(kind: str, as_json: bool) -> None:
    """Show which experiments, faults, probes, playbooks, stacks and prompts there are.

    Yours come first; one of yours takes the place of drillbook's own of the same name.
    """
    rows = listing.KINDS[kind]()
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        _table(kind, rows)
    else:
        click.echo(f"there are no {kind} yet; `drillbook init` makes a drillbook of your own")


def _table(kind: str, rows: list[listing.Row]) -> None:
    """One table; where rows have a group (the folder, a failure mode), a section for each."""
    from rich.console import Console
    from rich.table import Table

    hidden = {"group", "file"} | ({"from"} if all(row.get("from") == "drillbook" for row in rows) else set())
    columns = [key for key in rows[0] if key not in hidden]
    grouped = any(row.get("group") for row in rows)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in [*(["failure mode"] if grouped else []), *columns]:
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    previous = None
    for row in sorted(rows, key=lambda row: row.get("group", "")) if grouped else rows:
        cells = [row[column] for column in columns]
        group = row.get("group", "")
        table.add_row(*([group if group != previous else ""] if grouped else []), *cells)
        previous = group
    # A pipe has no width of its own: there, a row stays a line.
    Console(width=None if sys.stdout.isatty() else 200).print(table)
