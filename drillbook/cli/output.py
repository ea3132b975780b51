"""How commands speak: progress on stderr, answers on stdout, verdicts in colour only where there is a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from drillbook.model.judgement import Judgement
from drillbook.model.verdict import Verdict

VERDICT_STYLES: dict[Verdict, dict[str, object]] = {
    Verdict.HELD: {"fg": "green", "bold": True},
    Verdict.INCONCLUSIVE: {"fg": "yellow", "bold": True},
    Verdict.REFUTED: {"fg": "red", "bold": True},
}
MARKS = {Verdict.HELD: "✓", Verdict.INCONCLUSIVE: "?", Verdict.REFUTED: "✗"}


def say(message: str) -> None:
    """One line of progress, on stderr."""
    click.secho(message, err=True, dim=True)


def show_judgement(judgement: Judgement) -> None:
    """The verdict with a line for each finding, on stdout."""
    click.echo()
    for finding in judgement.findings:
        mark = click.style(MARKS[finding.verdict], **VERDICT_STYLES[finding.verdict])  # type: ignore[arg-type]  # click's own **styles
        click.echo(f"  {mark} {finding.expectation}")
        click.secho(f"      {finding.reason}", dim=True)
    click.echo()
    verdict = click.style(judgement.verdict.value.upper(), **VERDICT_STYLES[judgement.verdict])  # type: ignore[arg-type]
    click.echo(f"{verdict}  {judgement.reason}")
    if judgement.status != "completed":
        click.echo(f"run {judgement.status.value}")
    click.echo(f"undo {judgement.undo.value}")


def show_paths(paths: Sequence[Path]) -> None:
    """Where to look next, as paths that a terminal can open."""
    for path in paths:
        try:
            shown = path.relative_to(Path.cwd())
        except ValueError:
            shown = path
        click.echo(f"  {shown}")
