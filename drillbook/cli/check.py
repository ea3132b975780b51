"""``drillbook check``: judge an old run again, from its journal alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from drillbook import garbage
from drillbook.cli import chaostoolkit, output


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(folder: Path, as_json: bool) -> None:
    """Judge the run in folder RUN again; the exit code is the verdict's."""
    if chaostoolkit.folder_is_one(folder):
        sys.exit(chaostoolkit.recheck(folder, as_json=as_json))
    from drillbook.experiments import check, journal

    with garbage.kept():
        judgement = check.judge(journal.read(folder))
    if as_json:
        click.echo(output.as_json(judgement, folder))
    else:
        output.show_judgement(judgement, every=True)
    sys.exit(int(judgement.exit_code))
