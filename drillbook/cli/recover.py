"""``drillbook recover``: find and undo whatever any run left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drillbook.cli import signals
from drillbook.cli import where as targets
from drillbook.cli.output import say
from drillbook.cli.where import Where, opened
from drillbook.errors import Exit, RefusedError, UndoError
from drillbook.model.experiment import TargetSpec

if TYPE_CHECKING:
    from drillbook.undo.recover import Leftover


@click.command()
@targets.options
@targets.runs
@click.option("--list", "only_list", is_flag=True, help="Only say what is there.")
@click.option("--force", is_flag=True, help="Also where a live run seems to hold the target.")
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def command(where: Where, runs: Path, only_list: bool, force: bool, as_json: bool) -> None:
    """Undo what runs left at the target, from their records there and here; exit 5 while anything remains."""
    label, left = signals.run(_recover(where, runs, only_list=only_list, force=force))
    if as_json:
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(left), indent=2))
    elif not left:
        click.echo(f"nothing to undo: no run has left a record at {label}, nor in {runs}")
    for each in () if as_json else left:
        _show(each)
    sys.exit(int(Exit.UNDO_FAILED if any(each.remains for each in left) else Exit.HELD))


async def _recover(where: Where, runs: Path, *, only_list: bool, force: bool) -> tuple[str, list[Leftover]]:
    """The target in words, and what was found there, as it is now.

    Raises:
        UndoError: the target does not let itself be looked at: something may be left.

    """
    from drillbook.targets.answers import UnavailableError
    from drillbook.undo import recover

    # No stack is looked for: there may be no engine left to know it by, and that is when recovery matters most.
    spec = TargetSpec(stack="other")
    try:
        async with opened(where, spec, say, start=False) as target:
            found = await recover.find(target, runs)
            return target.label, found if only_list else await recover.recover(target, found, force=force)
    except (UnavailableError, RefusedError) as error:
        raise UndoError(
            f"whether anything is left cannot be seen: {error.message}",
            hint=f"{error.hint}\nthen again: drillbook recover".strip(),
        ) from error


def _show(left: Leftover) -> None:
    mark = click.style("✗", fg="red", bold=True) if left.remains else click.style("✓", fg="green", bold=True)
    click.echo(f"{mark} {left.run_id or 'a record that cannot be read'}  {left.experiment}".rstrip())
    click.echo(f"    {left.summary}")
    if left.folder:
        click.secho(f"    {left.folder}", dim=True)
