"""``drillbook run``: one experiment against one target, from preflight to the report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drillbook.cli import chaostoolkit, completion, signals
from drillbook.cli import where as targets
from drillbook.cli.where import Where

if TYPE_CHECKING:
    from drillbook.experiments.plan import Watched


@click.command()
@click.argument("experiment", metavar="EXPERIMENT", shell_complete=completion.experiments)
@targets.options
@targets.runs
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Chooses the victims, and the arrivals of the load."
)
@click.option(
    "--watchdog",
    type=click.Choice(["auto", "pod", "local"]),
    default="auto",
    show_default=True,
    help="What undoes when the runner no longer can: one at the target too, or on this machine alone.",
)
@click.option("--dry-run", is_flag=True, help="Resolve everything, show the exact calls and their undo, touch nothing.")
@click.option(
    "--redact", is_flag=True, help="Keep the words of adversarial prompts and of their answers out of the run folder."
)
@click.option("--json", "as_json", is_flag=True, help="For a script: the judgement as JSON on stdout.")
def command(
    experiment: str,
    where: Where,
    runs: Path,
    seed: int,
    watchdog: Watched,
    *,
    dry_run: bool,
    redact: bool,
    as_json: bool,
) -> None:
    """Run EXPERIMENT (a file, or the name of one that ships): break, measure, put back, report.

    A Chaos Toolkit experiment (JSON or YAML) is run as it is.
    """
    if (path := chaostoolkit.experiment_at(experiment)) is not None:
        if not dry_run:
            sys.exit(chaostoolkit.live(path, where, runs=runs, as_json=as_json))
        chaostoolkit.dry(path)
        return
    from drillbook.cli.drill import dry, live, tell

    if dry_run:
        signals.run(dry(experiment, where, seed=seed, as_json=as_json))
        return
    folder = signals.run(live(experiment, where, runs=runs, seed=seed, quiet=as_json, watchdog=watchdog, redact=redact))
    sys.exit(int(tell(folder, where, as_json=as_json)))
