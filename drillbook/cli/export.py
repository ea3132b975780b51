"""``drillbook export``: one of drillbook's experiments in the format of another tool."""

from __future__ import annotations

import json
from pathlib import Path

import click

from drillbook.cli import completion
from drillbook.cli.output import say
from drillbook.errors import UsageError


@click.command()
@click.argument("experiment", metavar="[EXPERIMENT]", required=False, shell_complete=completion.experiments)
@click.option(
    "--format",
    "-f",
    "kind",
    type=click.Choice(["chaostoolkit", "prometheusrule"]),
    default="chaostoolkit",
    show_default=True,
    help="The other tool.",
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of stdout.")
def command(experiment: str | None, kind: str, output: Path | None) -> None:
    """Write EXPERIMENT (a file, or the name of one that ships) as an experiment of Chaos Toolkit.

    `chaos run` and `drillbook run` both take it; its faults and probes are drillbook's, its rollbacks undo. What Chaos
    Toolkit has no words for is told on stderr and kept under `extensions`.

    With --format prometheusrule it is the alert rules of playbooks/alerts.yaml that are written, as an object for
    Prometheus' operator: `drillbook export -f prometheusrule | kubectl apply -f -`.
    """
    if kind == "prometheusrule":
        _write(_alert_rules(experiment), output)
        return
    if experiment is None:
        raise UsageError("which experiment?", "`drillbook list experiments` shows them")
    from drillbook import catalog
    from drillbook.chaostoolkit.export import export
    from drillbook.experiments.load import load

    written, untold = export(load(catalog.find("experiments", experiment)))
    text = json.dumps(written, indent=2, ensure_ascii=False)
    for each in untold:
        say(f"not said in {kind}: {each}")
    _write(text, output)


def _alert_rules(experiment: str | None) -> str:
    import yaml

    from drillbook.playbooks import alerts

    if experiment is not None:
        raise UsageError("alert rules are the same for every experiment", "leave the experiment's name out")
    return yaml.safe_dump(alerts.prometheus_rule(), sort_keys=False, width=120, allow_unicode=True).rstrip()


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}", "choose another file with --output") from None
    click.echo(str(output))
