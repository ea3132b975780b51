"""The door: ``drillbook COMMAND``. Imports click and nothing heavier."""

from __future__ import annotations

import os

import click

from drillbook import __version__
from drillbook.cli.lazy import LazyGroup

_SETTINGS = {"auto_envvar_prefix": "DRILLBOOK", "help_option_names": ["-h", "--help"], "max_content_width": 110}

_EPILOG = """Exit codes: 0 held, 1 refuted, 2 usage or invalid file, 3 inconclusive, 4 target unreachable or preflight
failed, 5 undo failed (the target may still be broken), 70 bug, 130 interrupted (after undo).

Completion: eval "$(_DRILLBOOK_COMPLETE=bash_source drillbook)" in bash; zsh_source, fish_source elsewhere."""


@click.group(
    cls=LazyGroup, context_settings=_SETTINGS, epilog=_EPILOG, no_args_is_help=False, invoke_without_command=True
)
@click.version_option(__version__, "-V", "--version", message="drillbook %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of a bug.")
@click.pass_context
def main(ctx: click.Context, debug: bool) -> None:
    """Fire drills for LLM serving: break a live vLLM deployment on purpose, measure what users saw down to the token,
    always put it back, and write the incident playbook.

    Start here: drillbook run pod-kill --sandbox
    """
    if debug:
        os.environ["DRILLBOOK_DEBUG"] = "1"
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
