"""``drillbook doctor``: what works on this machine and on a target, what does not, and why."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from drillbook.cli import signals
from drillbook.cli import where as targets
from drillbook.cli.output import say
from drillbook.cli.where import Where, opened, said
from drillbook.errors import DrillbookError, Exit
from drillbook.model.experiment import TargetSpec

if TYPE_CHECKING:
    from drillbook.experiments.doctor import Check

MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("-", "yellow")}


@click.command()
@targets.options
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(where: Where, as_json: bool) -> None:
    """Look at this machine and, where one is named, at a target; touch nothing. Exit 4 where the target is unfit."""
    from drillbook.experiments.doctor import Check, machine

    checks = {"this machine": machine()}
    if said(where):
        try:
            checks["target"] = signals.run(_target(where))
        except DrillbookError as error:
            checks["target"] = [Check("target", False, "; ".join(filter(None, (error.message, error.hint))))]
    if as_json:
        found = {place: [check.__dict__ for check in each] for place, each in checks.items()}
        click.echo(json.dumps(found, indent=2))
    else:
        for place, each in checks.items():
            click.secho(place, bold=True)
            for check in each:
                mark, colour = MARKS[check.ok]
                click.echo(f"  {click.style(mark, fg=colour)} {check.name:22} {check.detail}")
        if "target" not in checks:
            click.secho("\nto look at a target too: drillbook doctor --sandbox, or --context NAME", dim=True)
    unfit = any(check.ok is False for check in checks.get("target", []))
    sys.exit(int(Exit.PREFLIGHT if unfit else Exit.HELD))


async def _target(where: Where) -> list[Check]:
    from drillbook.experiments.doctor import look_at

    async with opened(where, TargetSpec(), say, start=False) as target:
        return await look_at(target)
