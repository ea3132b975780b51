"""``drillbook schema``: the JSON Schema of experiment files."""

from __future__ import annotations

import json

import click

from drillbook.experiments.schema import json_schema


@click.command()
def command() -> None:
    """Print the JSON Schema (draft 2020-12) of experiment files, for editors.

    For the YAML language server, save it and begin an experiment with

        # yaml-language-server: $schema=../.drillbook/experiment.schema.json

    as `drillbook init` does.
    """
    click.echo(json.dumps(json_schema(), indent=2))
