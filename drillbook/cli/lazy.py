"""A click group that imports a command's module only when that command is wanted."""

from __future__ import annotations

import importlib
from typing import Any

import click

from drillbook.cli import commands, failures


class LazyGroup(click.Group):
    """Names and help texts come from the table in ``commands``; failures end in an exit code, never in a traceback."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(commands.HELP)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in commands.HELP:
            return None
        command = importlib.import_module(f"drillbook.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in commands.HELP:
            ctx.fail(f"No such command {args[0]!r}. {suggestion(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, commands.HELP))
        for section, table in commands.SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), text) for name, text in table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=text) for name, text in commands.HELP.items() if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def main(self, *args: Any, **extra: Any) -> Any:
        """As click's own, but every failure is told as ``failures`` does, and ends in its exit code."""
        inner: Any = super().main
        if not extra.pop("standalone_mode", True):
            return inner(*args, standalone_mode=False, **extra)
        return failures.guard(lambda: inner(*args, standalone_mode=False, **extra))


def suggestion(word: str) -> str:
    """``Did you mean …?``, else where all commands are shown."""
    import difflib

    close = difflib.get_close_matches(word, commands.HELP, n=2)
    return f"Did you mean {' or '.join(close)}?" if close else "'drillbook --help' shows all."
