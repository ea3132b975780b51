"""``drillbook run``: one experiment against one target, from preflight to the report."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from drillbook.cli import where as targets
from drillbook.cli.output import say, show_judgement, show_paths
from drillbook.cli.where import Where


@click.command()
@click.argument("experiment", metavar="EXPERIMENT")
@targets.options
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where run folders go.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Chooses the victims, and the arrivals of the load."
)
@click.option("--dry-run", is_flag=True, help="Resolve everything, show the exact calls and their undo, touch nothing.")
@click.option("--json", "as_json", is_flag=True, help="For a script: the judgement as JSON on stdout.")
def command(experiment: str, where: Where, runs: Path, seed: int, dry_run: bool, as_json: bool) -> None:
    """Run EXPERIMENT (a file, or the name of one that ships): break, measure, put back, report."""
    from drillbook.cli.drill import dry, live

    if dry_run:
        sys.exit(asyncio.run(dry(experiment, where, seed=seed, as_json=as_json)))
    outcome = asyncio.run(live(experiment, where, runs=runs, seed=seed, quiet=as_json))
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(outcome.judgement), indent=2).decode())
    else:
        show_judgement(outcome.judgement)
        show_paths([path for name, path in sorted(outcome.paths.items()) if path.suffix != ".xml"])
    say(f"exit code {int(outcome.judgement.exit_code)}")
    sys.exit(int(outcome.judgement.exit_code))
