"""``drillbook plan``: what a run would do to which objects, and how it would be undone. Touches nothing."""

from __future__ import annotations

import click

from drillbook.cli import chaostoolkit, completion, signals
from drillbook.cli import where as targets
from drillbook.cli.where import Where


@click.command()
@click.argument("experiment", metavar="EXPERIMENT", shell_complete=completion.experiments)
@targets.options
@click.option("--seed", type=int, default=1, show_default=True, help="Chooses the victims, as `run --seed` does.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(experiment: str, where: Where, seed: int, as_json: bool) -> None:
    """Resolve EXPERIMENT against a live target: real pods, blast radius, exact calls and their undo."""
    if (path := chaostoolkit.experiment_at(experiment)) is not None:
        chaostoolkit.dry(path)
        return
    from drillbook.cli.drill import dry

    signals.run(dry(experiment, where, seed=seed, as_json=as_json))
