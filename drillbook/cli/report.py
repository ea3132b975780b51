"""``drillbook report``: render an old run's reports again."""

from __future__ import annotations

from pathlib import Path

import click

from drillbook import garbage
from drillbook.cli.output import shown


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="RUN")
@click.option(
    "--format",
    "-f",
    "formats",
    multiple=True,
    metavar="FORMAT",
    help="html, markdown, json, junit, playbook or chaostoolkit; all by default.",
)
@click.option("--redact", is_flag=True, help="Leave out the words of adversarial prompts and of their answers.")
def command(folder: Path, formats: tuple[str, ...], *, redact: bool) -> None:
    """Render the reports of the run in folder RUN; its journal is all that is needed."""
    from drillbook import reports

    with garbage.kept():
        written = reports.write(folder, formats=formats or None, redact=redact)
    for path in written.values():
        click.echo(shown(path))
