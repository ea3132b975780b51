"""``drillbook show``: an experiment as it is written, and read aloud."""

from __future__ import annotations

import json

import click

from drillbook import catalog
from drillbook.cli import aloud, completion
from drillbook.experiments.load import Loaded, load


@click.command()
@click.argument("name", shell_complete=completion.experiments)
@click.option("--json", "as_json", is_flag=True, help="Print the experiment as it is understood, as JSON.")
def command(name: str, as_json: bool) -> None:
    """Print an experiment, and what it will do in plain words.

    NAME is a name from `drillbook list` or a path.
    """
    loaded = load(catalog.find("experiments", name))
    if as_json:
        click.echo(json.dumps(_data(loaded), indent=2))
        return
    from rich.console import Console
    from rich.syntax import Syntax
    from rich.text import Text

    console = Console()
    console.print(Text(str(loaded.path), style="dim"), soft_wrap=True)
    if console.is_terminal:
        console.print(
            Syntax(loaded.source.rstrip(), "yaml", theme="ansi_dark", background_color="default", word_wrap=True)
        )
    else:
        click.echo(loaded.source.rstrip())
    for heading, sentences in aloud.sections(loaded.experiment):
        console.print()
        console.print(Text(heading, style="bold"), soft_wrap=True)
        for sentence in sentences:
            console.print(Text(f"  - {sentence}"), soft_wrap=not console.is_terminal)


def _data(loaded: Loaded) -> dict[str, object]:
    return {
        "file": str(loaded.path),
        "sha256": loaded.sha256,
        "experiment": loaded.experiment.model_dump(mode="json", by_alias=True),
        "reading": dict(aloud.sections(loaded.experiment)),
    }
