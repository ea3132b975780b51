"""``drillbook recover``: find and undo whatever any run left behind."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from drillbook.cli import where as targets
from drillbook.cli.output import say
from drillbook.cli.where import Where, opened
from drillbook.errors import Exit
from drillbook.model.experiment import TargetSpec


@click.command()
@targets.options
@click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Where run folders are.",
)
@click.option("--list", "only_list", is_flag=True, help="Only say what is there.")
@click.option("--force", is_flag=True, help="Also where a live run seems to hold the target.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(where: Where, runs: Path, only_list: bool, force: bool, as_json: bool) -> None:
    """Undo what runs left at the target, from their records there and here; exit 5 while anything remains."""
    sys.exit(asyncio.run(_recover(where, runs, only_list=only_list, force=force, as_json=as_json)))


async def _recover(where: Where, runs: Path, *, only_list: bool, force: bool, as_json: bool) -> int:
    from drillbook.undo import recover

    async with opened(where, TargetSpec(), say) as target:
        found = await recover.find(target, runs)
        results = found if only_list else await recover.recover(target, found, force=force)
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(results), indent=2))
    elif not results:
        click.echo("nothing to undo: no open record, here or at the target")
    else:
        for result in results:
            click.echo(f"{result.run_id}: {result.summary}")
    return int(Exit.UNDO_FAILED if any(result.remains for result in results) else Exit.HELD)
