"""How commands speak: progress on stderr, answers on stdout, verdicts in colour only where there is a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from drillbook.model.judgement import Clocks, Judgement
from drillbook.model.units import Dimension, show
from drillbook.model.verdict import Finding, RunStatus, UndoState, Verdict

VERDICT_STYLES: dict[Verdict, dict[str, Any]] = {
    Verdict.HELD: {"fg": "green", "bold": True},
    Verdict.INCONCLUSIVE: {"fg": "yellow", "bold": True},
    Verdict.REFUTED: {"fg": "red", "bold": True},
}
MARKS = {Verdict.HELD: "✓", Verdict.INCONCLUSIVE: "?", Verdict.REFUTED: "✗"}
GROUPS = {
    "expect": "what was expected",
    "abort-when": "why it was aborted",
    "steady-state": "before the fault",
    "bite": "the fault",
    "validity": "the measurement",
}
"""The findings' roles in the order in which a person wants to know."""
FOLDED = {"validity": "it can be believed"}
"""Groups that are one line while everything in them held."""
SHOWN = ("html", "markdown", "json", "playbook")
"""Reports that the end of a run points to; CI systems find the others by themselves."""


def say(message: str) -> None:
    """One line of progress, on stderr."""
    click.secho(message, err=True, dim=True)


def show_judgement(judgement: Judgement, *, every: bool = False) -> None:
    """What happened, the findings by what they are about, and the verdict, on stdout.

    :param every: also each check of the measurement that held.
    """
    happened = list(_happened(judgement.clocks))
    if happened:
        click.echo()
        click.secho("what happened", bold=True)
        for row in happened:
            click.echo(f"  {_printable(row)}")
    for role, heading in GROUPS.items():
        group = [finding for finding in judgement.findings if finding.role == role]
        if group:
            click.echo()
            click.secho(heading, bold=True)
            _show_group(role, group, every=every)
    click.echo()
    verdict = click.style(judgement.verdict.value.upper(), **VERDICT_STYLES[judgement.verdict])
    click.echo(f"{verdict}  {_printable(judgement.reason)}")
    fine = judgement.status is RunStatus.COMPLETED and judgement.undo is not UndoState.REMAINS
    click.secho(f"run {judgement.status.value}, undo {judgement.undo.value}", fg=None if fine else "red", dim=fine)


def _printable(text: str) -> str:
    """Without what would steer a terminal: names and errors may be anyone's words."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)


def _show_group(role: str, group: Sequence[Finding], *, every: bool) -> None:
    if role in FOLDED and not every:
        doubtful = [finding for finding in group if finding.verdict is not Verdict.HELD]
        sound = len(group) - len(doubtful)
        if sound:
            text = f"{FOLDED[role]}: " if not doubtful else ""
            click.echo(f"  {_mark(Verdict.HELD)} {text}{sound} check{'' if sound == 1 else 's'} held")
        group = doubtful
    for finding in group:
        click.echo(f"  {_mark(finding.verdict)} {_printable(finding.expectation)}")
        click.secho(f"      {_printable(finding.reason)}", dim=True)


def _happened(clocks: Clocks) -> Iterator[str]:
    """The clocks that a user's day turns on, in the order of their time."""
    told = (
        (clocks.inject, "the fault was in place"),
        (clocks.effect, "the first user was harmed"),
        (clocks.detect, "the first signal turned"),
        (clocks.mitigate, "users were served again"),
        (clocks.recover, "and all the capacity was back"),
        (clocks.revert, "everything was put back"),
    )
    known = [(moment.at, moment.source, text) for moment, text in told if moment.at is not None]
    for at, source, text in sorted(known, key=lambda row: row[0]):
        yield f"{f'T{at:+.1f}s':>9}  {text}" + (f": {source}" if source else "")
    harmed = sum(end - start for start, end in clocks.broken)
    if harmed:
        green = sum(end - start for start, end in clocks.green_while_broken)
        unseen = f", {show(green, Dimension.DURATION)} of it with every health signal green" if green else ""
        yield f"{'':9}  users failed for {show(harmed, Dimension.DURATION)}{unseen}"


def _mark(verdict: Verdict) -> str:
    return click.style(MARKS[verdict], **VERDICT_STYLES[verdict])


def show_end(folder: Path, paths: Mapping[str, Path], judgement: Judgement, where: str) -> None:
    """Where to look next: reports as paths that a terminal can open, then the exact command."""
    click.echo()
    for name in SHOWN:
        if name in paths:
            click.echo(f"  {shown(paths[name])}")
    click.echo()
    if judgement.undo is UndoState.REMAINS:
        click.secho("SOMETHING MAY BE LEFT at the target; a watchdog goes on undoing it. Look and help:", fg="red")
        click.echo(f"  {f'drillbook recover {where}'.strip()}")
    click.echo(f"  drillbook check {shown(folder)}   # every finding, with its evidence")


def as_json(judgement: Judgement, folder: Path, paths: Mapping[str, Path] | None = None) -> str:
    """The judgement for a script, with the run folder, the exit code and the reports."""
    import msgspec

    found = {"run": str(folder), "exit_code": int(judgement.exit_code), **msgspec.to_builtins(judgement)}
    if paths is not None:
        found["reports"] = {name: str(path) for name, path in sorted(paths.items())}
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode()


def shown(path: Path) -> Path:
    """The path as short as it can be said from here."""
    try:
        return path.absolute().relative_to(Path.cwd())
    except ValueError:
        return path
