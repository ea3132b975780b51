"""What ``run`` and ``plan`` share: an experiment found, a target opened, a plan shown, a run carried out and told."""

from __future__ import annotations

from pathlib import Path

import click

from drillbook import catalog
from drillbook.cli import failures
from drillbook.cli.output import say
from drillbook.cli.where import Where, opened
from drillbook.errors import DrillbookError, Exit
from drillbook.experiments import drill as drills
from drillbook.experiments.load import load
from drillbook.experiments.plan import Watched
from drillbook.model.plan import Plan
from drillbook.probes.prometheus import queries


async def dry(experiment: str, where: Where, *, seed: int, as_json: bool) -> None:
    """Show what a run would do; touch nothing."""
    loaded = load(catalog.find("experiments", experiment))
    async with opened(where, loaded.experiment.target, say) as target:
        plan = await drills.resolve(loaded, target, seed=seed)
    if as_json:
        import msgspec

        click.echo(msgspec.json.format(msgspec.json.encode(plan), indent=2).decode())
    else:
        show_plan(plan)


async def live(
    experiment: str,
    where: Where,
    *,
    runs: Path,
    seed: int,
    quiet: bool,
    watchdog: Watched = "auto",
    redact: bool = False,
) -> Path:
    """Run, on a live console unless ``quiet``; gives the run folder."""
    from rich.console import Console

    from drillbook.cli.console import RunConsole

    loaded = load(catalog.find("experiments", experiment))
    console = Console(stderr=True, quiet=quiet, highlight=False)
    monitored = queries.needed(loaded.experiment)
    async with opened(where, loaded.experiment.target, say, monitored=monitored) as target:
        with RunConsole(loaded.experiment, target.label, console) as live_console:
            return await drills.drill(
                loaded,
                target,
                runs,
                seed=seed,
                redact=redact,
                sinks=(live_console,),
                watchdog=watchdog,
                on_wait=say,
            )


def tell(folder: Path, where: Where, *, as_json: bool) -> Exit:
    """Judge a finished run, write its reports and tell both; the exit code that says it all.

    A report that cannot be written is told, and takes nothing from the verdict.
    """
    from drillbook import reports
    from drillbook.cli import output
    from drillbook.experiments import check, journal

    history = journal.read(folder)
    judgement = check.judge(history)
    trouble: DrillbookError | None = None
    paths: dict[str, Path] = {}
    try:
        paths = reports.write(folder)
    except DrillbookError as error:
        trouble = error
    if as_json:
        click.echo(output.as_json(judgement, folder, paths))
    else:
        output.show_judgement(judgement)
        output.show_end(folder, paths, judgement, where.spoken)
    if trouble is not None:
        failures.tell(trouble)
    return judgement.exit_code or (trouble.exit_code if trouble else Exit.HELD)


def show_plan(plan: Plan) -> None:
    """A plan for people: what, to which objects, by which calls, and how it is undone."""
    click.secho(plan.experiment, bold=True)
    click.echo(f"target        {plan.target}")
    click.echo(f"baseline      {plan.baseline:g}s, then at most {plan.observe:g}s of observation")
    click.echo(f"requests      about {plan.expected_requests} at most, sent by {plan.engine}")
    for call in plan.load:
        click.echo(f"  call        {call.verb} {call.path}  ({call.why}, and take it away at the end)")
    for attack in plan.attacks:
        click.echo(f"attacks       {attack}")
    for fault in plan.faults:
        held = "" if fault.hold is None else f", held for {fault.hold:g}s"
        click.echo()
        click.secho(f"T+{fault.at:g}s  {fault.summary}{held}", bold=True)
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
    click.echo()
    groups: dict[str, list[str]] = {}
    for need in plan.permissions:
        groups.setdefault(str(need).partition(" ")[2], []).append(need.verb)
    needs = "; ".join(f"{', '.join(dict.fromkeys(verbs))} {resource}" for resource, verbs in groups.items())
    click.echo(f"needs         {needs}")
    for warning in plan.warnings:
        click.secho(f"! {warning}", fg="yellow")
    click.echo()
    click.secho("Nothing was touched.", dim=True)
