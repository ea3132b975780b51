"""``drillbook trust``: vouch for the Python of a drillbook folder, or for a Chaos Toolkit experiment."""

from __future__ import annotations

from pathlib import Path

import click

from drillbook import catalog, site
from drillbook.errors import UsageError


@click.command()
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--revoke", is_flag=True, help="Vouch for it no more.")
def command(path: Path | None, revoke: bool) -> None:
    """Allow the Python of a drillbook folder, or what a Chaos Toolkit experiment names, to be executed.

    PATH is a drillbook (a folder with `experiments` and `probes`), the one around you by default; or one experiment.
    What is trusted is the content as it is now: read it first. A file that changes later has to be trusted again.
    """
    root = path or catalog.user_root()
    if root is None:
        raise UsageError("you are in no drillbook", "say which folder: drillbook trust PATH")
    if revoke:
        click.echo(f"{root} is {'not trusted any more' if site.revoke(root) else 'not trusted anyway'}")
        return
    files = {root.name: site.trust_file(root)} if root.is_file() else site.trust(root)
    for file, digest in files.items():
        click.echo(f"trusted  {file}  sha256:{digest[:12]}")
    if not files:
        click.echo(f"{root} has no Python files; nothing needs trust")
