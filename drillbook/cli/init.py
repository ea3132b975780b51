"""``drillbook init``: a drillbook of one's own."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import click

from drillbook import catalog, site
from drillbook.errors import UsageError
from drillbook.experiments.schema import json_schema

_STARTER = {
    "README.md": "README.md",
    ".gitignore": "gitignore",
    "experiments/first-drill.yaml": "experiments/first-drill.yaml",
    "probes/engine_restarts.py": "probes/engine_restarts.py",
    "playbooks/engine-lost.yaml": "playbooks/engine-lost.yaml",
}
"""Where each file goes, and what it is called in ``drillbook/starter``."""
_SCHEMA = ".drillbook/experiment.schema.json"
_KEEP = {"adversarial/.gitkeep": "", "reports/.gitkeep": ""}
"""git keeps no empty folders."""


@click.command()
@click.argument("folder", default=".", metavar="[DIR]", type=click.Path(file_okay=False, path_type=Path))
def command(folder: Path) -> None:
    """Make a drillbook of your own: five folders and a first experiment.

    In DIR, the working directory by default. Files that are there already are never overwritten.
    """
    starter = resources.files("drillbook") / "starter"
    texts = {name: starter.joinpath(source).read_text(encoding="utf-8") for name, source in _STARTER.items()}
    texts |= _KEEP | {_SCHEMA: json.dumps(json_schema(), indent=1) + "\n"}
    present = [name for name in texts if (folder / name).exists() or (folder / name).is_symlink()]
    if present:
        raise UsageError(
            f"{folder} holds {', '.join(present)} already, and nothing is overwritten", "choose a folder that is empty"
        )
    strangers = site.python_files(folder) if folder.exists() else {}
    _write(folder, texts)
    if not strangers:
        # Its only Python is what was written just now.
        site.trust(folder)
    for name in texts:
        click.echo(f"wrote  {folder / name}")
    click.echo(
        f"\nNext: {'' if folder == Path() else f'cd {folder} && '}drillbook validate && drillbook show first-drill"
    )


def _write(folder: Path, texts: dict[str, str]) -> None:
    try:
        for kind in catalog.KINDS:
            (folder / kind).mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise UsageError(
            f"{error.filename or folder} cannot be written: {error.strerror}", "choose another folder"
        ) from error
