"""What the commands do where they are given a Chaos Toolkit experiment, or the run folder of one."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drillbook import catalog
from drillbook.cli import output
from drillbook.cli.output import say
from drillbook.cli.where import Where
from drillbook.model.judgement import Judgement
from drillbook.model.verdict import UndoState

if TYPE_CHECKING:  # only for those who run one
    from drillbook.chaostoolkit.journal import Journal


def experiment_at(name: str) -> Path | None:
    """The path, where ``name`` is that of a Chaos Toolkit experiment; drillbook's own are not looked at twice.

    Raises:
        InvalidFileError: it is a link out of its drillbook.

    """
    path = Path(name)
    if path.suffix not in (".json", ".yaml", ".yml") or not path.is_file():
        return None
    catalog.within(path)
    from drillbook.chaostoolkit.load import is_chaos_toolkit

    return path if is_chaos_toolkit(path) else None


def folder_is_one(folder: Path) -> bool:
    """Whether a run folder is that of a Chaos Toolkit experiment."""
    from drillbook.chaostoolkit.journal import is_here

    return is_here(folder)


def dry(path: Path) -> None:
    """Show what a run would do; execute nothing."""
    from drillbook.chaostoolkit.load import load
    from drillbook.chaostoolkit.run import plan

    for line in plan(load(path)):
        click.echo(line)
    click.secho("Nothing was touched.", dim=True)


def live(path: Path, where: Where, *, runs: Path, as_json: bool) -> int:
    """Run, judge, show; the exit code."""
    from drillbook.chaostoolkit.load import load
    from drillbook.chaostoolkit.mainthread import MainThread
    from drillbook.chaostoolkit.run import run

    _tell_extension(where)
    main, experiment = MainThread(), load(path)

    async def work() -> int:
        return _tell(await run(experiment, runs, say, main), as_json=as_json)

    return main.serve(work, leave=_leave)


def _leave(code: int) -> None:
    """An action that nothing could end holds the main thread: the rollbacks were played, and all was told."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _tell(written: Journal, *, as_json: bool) -> int:
    from drillbook.chaostoolkit.judge import judge

    judgement = judge(written.written)
    _show(judgement, written.path.parent, as_json=as_json)
    if written.trouble:
        say(written.trouble)
    if not as_json:
        if judgement.undo is UndoState.REMAINS:
            click.secho("SOMETHING MAY BE LEFT: a rollback failed, or an action could not be ended.", fg="red")
        click.echo(f"  {output.shown(written.path)}")
    return int(judgement.exit_code)


def recheck(folder: Path, *, as_json: bool) -> int:
    """Judge an old run again; the exit code."""
    from drillbook.chaostoolkit import journal
    from drillbook.chaostoolkit.judge import judge

    judgement = judge(journal.read(folder))
    _show(judgement, folder, as_json=as_json)
    return int(judgement.exit_code)


def _show(judgement: Judgement, folder: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(output.as_json(judgement, folder))
    else:
        output.show_judgement(judgement, every=True)


def _tell_extension(where: Where) -> None:
    """Say where to act to drillbook's own actions, should the experiment use them."""
    said = {
        "SANDBOX": where.sandbox,
        "CONTEXT": where.context,
        "KUBECONFIG": where.kubeconfig and str(where.kubeconfig.absolute()),
        "NAMESPACE": where.namespace,
        "ENDPOINT": where.endpoint,
    }
    os.environ.update({f"DRILLBOOK_TARGET_{key}": value for key, value in said.items() if value})
