"""A plan of attacks carried out from the command line: where to, the run folder, the table at the end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec

import drillbook
from drillbook import clock
from drillbook.adversarial import packs, plan
from drillbook.adversarial.config import AttackerConfig
from drillbook.adversarial.runner import Attacker
from drillbook.cli import output
from drillbook.cli.where import Where, opened, said
from drillbook.errors import Exit, UsageError
from drillbook.experiments.drill import new_folder, new_run_id, point_latest
from drillbook.load.process import GeneratorError
from drillbook.model.attack import AttackRecord
from drillbook.model.events import Noted
from drillbook.model.expectation import suggest
from drillbook.model.experiment import AttackSpec, TargetSpec
from drillbook.model.verdict import RunStatus, UndoState, Verdict, exit_code
from drillbook.probes import registry
from drillbook.reports import attacks, templates
from drillbook.reports.attacks import AttackFacts, Header
from drillbook.reports.renderers import garak
from drillbook.targets import endpoint as endpoints

WRITER = "attack"
RAW = "garak-attempts.jsonl"
DRAIN = 15.0
"""Seconds that prompts in flight are given when the run is told to end."""
LOUD = 2.0
"""Seconds between two lines of progress."""


@dataclass(frozen=True)
class Address:
    base_url: str
    model: str
    label: str


@dataclass(frozen=True)
class Ended:
    folder: Path
    facts: AttackFacts
    paths: dict[str, Path]


async def attack(
    name: str,
    where: Where,
    *,
    runs: Path,
    quiet: bool,
    model: str | None,
    rate: str | None,
    concurrency: int | None,
    cap: int | None,
    seed: int | None,
    headers: tuple[str, ...],
    redact: bool,
    garak_python: str | None,
) -> Ended:
    """Carry a plan out once and write its reports.

    Raises:
        UsageError: no such plan, or the target is not named.
        UnreachableError: the target does not answer; there is no run folder then.
        GeneratorError: the attacker died. What it had sent by then is in the run folder.

    """
    path = _named(name)
    spec = _spec(path, rate=rate, cap=cap, seed=seed)
    wanted = plan.read(path, registry.dimensions()) if spec.plan else plan.of_pack(path.name)
    wanted = wanted.told(spec)
    async with _address(where, model, output.say) as address:
        folder = new_folder(runs, f"attack-{path.stem}")
        config = AttackerConfig.attack(
            spec,
            folder=folder,
            base_url=address.base_url,
            model=address.model,
            writer=WRITER,
            once=True,
            concurrency=concurrency or 0,
            redact=redact,
            garak_python=garak_python or "",
            headers_from=_headers(headers),
            raw="" if redact or not any(part.garak for part in wanted.parts) else str(folder / RAW),
        )
        try:
            records, notes, status, reason = await _carry_out(config, (lambda _: None) if quiet else output.say)
        except (GeneratorError, UsageError):
            with contextlib.suppress(OSError):
                folder.rmdir()  # nothing was sent; a folder that holds something stays
            raise
    point_latest(folder)
    header = Header(
        title=wanted.title,
        plan=str(path),
        target=address.label,
        endpoint=address.base_url,
        model=address.model,
        seed=wanted.seed,
        started=f"{datetime.fromtimestamp(clock.wall(), UTC):%Y-%m-%dT%H:%M:%S+00:00}",
        drillbook=drillbook.__version__,
        status=status,
        reason=reason,
        notes=tuple(notes),
    )
    facts = attacks.facts(header, wanted.expect, records)
    return Ended(folder, facts, _write(folder, facts, records))


async def _carry_out(
    config: AttackerConfig, say: Callable[[str], None]
) -> tuple[list[AttackRecord], list[str], RunStatus, str]:
    """All records, what the attacker said of itself, and how it ended. Being cancelled ends it early, with records."""
    records: list[AttackRecord] = []
    notes: list[str] = []
    status, reason = RunStatus.COMPLETED, ""
    async with Attacker(config) as attacker:
        reading = asyncio.create_task(_read(attacker, records, notes, say))
        try:
            await asyncio.shield(reading)
        except asyncio.CancelledError as error:
            status, reason = RunStatus.INTERRUPTED, str(error) or "cancelled"
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            await attacker.stop(DRAIN)
            await reading
        except GeneratorError as error:
            status, reason = RunStatus.CRASHED, error.message
    return records, notes, status, reason


async def _read(attacker: Attacker, records: list[AttackRecord], notes: list[str], say: Callable[[str], None]) -> None:
    told = clock.monotonic()
    async for line in attacker:
        if isinstance(line.event, AttackRecord):
            records.append(line.event)
        elif isinstance(line.event, Noted):
            notes.append(line.event.text)
            say(line.event.text)
        if line.mono - told > LOUD:
            told = line.mono
            say(f"{len(records)} answered")


def tell(ended: Ended, *, as_json: bool) -> Exit:
    """Print what it came to; the exit code that says it all."""
    facts = ended.facts
    if as_json:
        found = {"run": str(ended.folder), **msgspec.to_builtins(facts)}
        found["reports"] = {name: str(path) for name, path in sorted(ended.paths.items())}
        click.echo(json.dumps(found, indent=2))
    else:
        _show(ended)
    return exit_code(facts.header.status, facts.verdict, UndoState.NOTHING)


def _show(ended: Ended) -> None:
    from rich.console import Console
    from rich.table import Table

    facts = ended.facts
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("pack", "kind", "prompts", "outcomes"):
        table.add_column(column, justify="right" if column == "prompts" else "left", overflow="fold")
    for row in facts.rows:
        outcomes = ", ".join(f"{outcome.value} {count}" for outcome, count in row.outcomes.items())
        table.add_row(row.pack, row.kind.value, str(row.total), outcomes)
    console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)
    console.print(table)
    click.echo()
    for figure in facts.figures:
        few = "  (too few to tell)" if figure.verdict is Verdict.INCONCLUSIVE else ""
        click.echo(f"{figure.expectation:28} {figure.reason}{few}")
    click.echo(f"{'rate':28} {facts.rate:.1f} prompts a second over {facts.seconds:.1f}s")
    click.echo()
    for finding in facts.findings:
        mark = click.style(output.MARKS[finding.verdict], **output.VERDICT_STYLES[finding.verdict])
        click.echo(f"{mark} {finding.expectation}: {finding.reason}")
    verdict = click.style(facts.verdict.value.upper(), **output.VERDICT_STYLES[facts.verdict])
    click.echo(f"{verdict}  {facts.header.reason or f'{facts.sent} prompts sent'}")
    click.echo()
    for path in ended.paths.values():
        click.echo(f"  {output.shown(path)}")


def _write(folder: Path, facts: AttackFacts, records: list[AttackRecord]) -> dict[str, Path]:
    texts = {
        "attack.json": json.dumps(msgspec.to_builtins(facts), indent=1, ensure_ascii=False) + "\n",
        "attack.md": templates.render("attack.md.j2", facts=facts),
    }
    mine = [record for record in records if record.pack.startswith("garak.")]
    if mine:
        raw = folder / RAW
        whole = (json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()) if raw.is_file() else None
        attempts = whole if whole is not None else map(garak.attempt, mine)
        head = facts.header
        texts[garak.FILENAME] = garak.report(attempts, run_id=new_run_id(), target=head.model, started=head.started)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return {name: folder / name for name in texts}


def _named(name: str) -> Path:
    """The file of a plan or a pack."""
    if name.endswith((".yaml", ".yml")):
        return plan.find(name)
    if name.endswith(".jsonl"):
        return packs.find(name)
    plans = {entry.name: entry.path for entry in reversed(plan.entries())}
    known = {entry.name: entry.path for entry in reversed(packs.entries())} | plans
    if name not in known:
        raise UsageError(f"no plan or pack is called {name!r}", suggest(name, tuple(known)))
    return known[name]


def _spec(path: Path, *, rate: str | None, cap: int | None, seed: int | None) -> AttackSpec:
    given = {"rate": rate, "cap": cap, "seed": seed}
    kind = "pack" if path.suffix == ".jsonl" else "plan"
    try:
        return AttackSpec.model_validate({kind: str(path.absolute()), **given})
    except ValueError as error:
        hint = "for example --rate 20/s"
        raise UsageError(f"--rate {rate}: a rate is written with its unit", hint) from error


def _headers(pairs: tuple[str, ...]) -> dict[str, str]:
    found = dict(pair.partition("=")[::2] for pair in pairs)
    for name, variable in found.items():
        if not variable:
            raise UsageError(f"--header {name} names no variable", f"--header {name}=VARIABLE, and export VARIABLE=…")
    return found


@contextlib.asynccontextmanager
async def _address(where: Where, model: str | None, say: Callable[[str], None]) -> AsyncIterator[Address]:
    """Where the prompts go. An endpoint by itself is asked what it serves; nothing else is known of it or needed."""
    bare = where.endpoint is not None and not (where.sandbox or where.context or where.kubeconfig or where.namespace)
    if bare:
        assert where.endpoint is not None
        found = await endpoints.ask(where.endpoint)
        name = model or found.model
        if not name:
            raise UsageError(f"{found.url} does not say which model it serves", "name it: --model NAME")
        yield Address(found.url, name, found.url)
        return
    if not said(where):
        raise UsageError(
            "no target: the command line does not say where", "--endpoint URL, --sandbox, or --context NAME"
        )
    async with opened(where, TargetSpec(model=model), say) as target:
        yield Address(await target.endpoint(), await target.model(), target.label)
