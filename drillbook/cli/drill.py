"""What ``run`` and ``plan`` share: an experiment found, a target opened, a plan shown, a run carried out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from drillbook import catalog, reports
from drillbook.cli.console import RunConsole
from drillbook.cli.output import say
from drillbook.cli.where import Where, opened
from drillbook.experiments import check, journal
from drillbook.experiments import drill as drills
from drillbook.experiments.load import load
from drillbook.model.judgement import Judgement
from drillbook.model.plan import Plan


@dataclass(frozen=True)
class Outcome:
    """A finished run: its judgement and the reports that were written."""

    judgement: Judgement
    paths: dict[str, Path]


async def dry(experiment: str, where: Where, *, seed: int, as_json: bool) -> int:
    """Show what a run would do; touch nothing."""
    loaded = load(catalog.find("experiments", experiment))
    async with opened(where, loaded.experiment.target, say) as target:
        plan = await drills.resolve(loaded, target, seed=seed)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
    else:
        show_plan(plan)
    return 0


async def live(experiment: str, where: Where, *, runs: Path, seed: int, quiet: bool) -> Outcome:
    """Run, judge, report."""
    from rich.console import Console

    loaded = load(catalog.find("experiments", experiment))
    console = Console(stderr=True, quiet=quiet, highlight=False)
    async with opened(where, loaded.experiment.target, say) as target:
        with RunConsole(loaded.experiment, target.label, console) as live_console:
            folder = await drills.drill(loaded, target, runs, seed=seed, sinks=(live_console,))
    judgement = check.judge(journal.read(folder))
    return Outcome(judgement, reports.write(folder))


def show_plan(plan: Plan) -> None:
    """A plan for people: what, to which objects, by which calls, and how it is undone."""
    click.secho(plan.experiment, bold=True)
    click.echo(f"target        {plan.target}")
    click.echo(f"baseline      {plan.baseline:g}s, then at most {plan.observe:g}s of observation")
    click.echo(f"requests      about {plan.expected_requests} at most")
    for fault in plan.faults:
        click.echo()
        click.secho(f"T+{fault.at:g}s  {fault.summary}", bold=True)
        radius = fault.radius
        click.echo(
            f"  blast radius  {radius.pods} of {radius.role_total} pods, {radius.gpus} GPUs; "
            f"{radius.capacity_left:.0%} of the capacity left"
        )
        for target in fault.targets:
            click.echo(f"  on            {target}")
        for call in fault.calls:
            click.echo(f"  call          {call.verb} {call.path}" + (f"  {call.body}" if call.body else ""))
        click.echo(f"  undo          {fault.undo_summary}")
    for warning in plan.warnings:
        click.secho(f"! {warning}", fg="yellow")
    click.echo()
    click.secho("Nothing was touched.", dim=True)
