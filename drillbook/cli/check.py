"""``drillbook check``: judge an old run again, from its journal alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from drillbook.cli.output import show_judgement


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path), metavar="RUN")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(folder: Path, as_json: bool) -> None:
    """Judge the run in folder RUN again; the exit code is the verdict's."""
    from drillbook.experiments import check, journal

    judgement = check.judge(journal.read(folder))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(judgement), indent=2).decode())
    else:
        show_judgement(judgement)
    sys.exit(int(judgement.exit_code))
