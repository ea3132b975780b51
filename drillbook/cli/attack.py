"""``drillbook attack``: one plan of adversarial prompts against one endpoint, without a fault."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from drillbook.cli import signals
from drillbook.cli import where as targets
from drillbook.cli.where import Where
from drillbook.errors import Exit


@click.command()
@click.argument("plan", metavar="PLAN")
@targets.options
@click.option("--model", metavar="NAME", help="The served model; asked of the endpoint otherwise.")
@click.option("--rate", metavar="RATE", help="Prompts of all parts together, such as 20/s, instead of the plan's.")
@click.option("--concurrency", type=click.IntRange(1, 4096), help="So many at once, as fast as they are answered.")
@click.option("--cap", type=click.IntRange(min=1), help="Most prompts of each part, and of each probe of garak's.")
@click.option("--seed", type=int, help="Chooses the prompts and their order, instead of the plan's.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VARIABLE", help="A header from the environment.")
@click.option("--redact", is_flag=True, help="Keep no words of prompts and answers.")
@click.option("--garak-python", type=click.Path(exists=True, dir_okay=False), help="An interpreter that has garak.")
@targets.runs
@click.option("--json", "as_json", is_flag=True, help="For a script: the facts as JSON on stdout.")
def command(plan: str, where: Where, runs: Path, *, as_json: bool, **options: object) -> None:
    """Send all prompts of PLAN once, and say what the guardrail and the model made of them.

    PLAN is a plan or a pack: a file, or the name of one that ships (`drillbook list plans`, `drillbook list packs`). A
    target is named as for `run`; an `--endpoint` by itself needs no cluster. Exits 1 if an expectation of the plan is
    refuted, 3 if too few prompts were answered to say.
    """
    from drillbook.cli import attacking

    ended = signals.run(attacking.attack(plan, where, runs=runs, quiet=as_json, **options))  # type: ignore[arg-type]  # click gives what was declared
    sys.exit(int(attacking.tell(ended, as_json=as_json)) or Exit.HELD)
