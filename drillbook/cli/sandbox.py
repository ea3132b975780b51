"""``drillbook sandbox …``: a small Kubernetes on this machine whose pods are real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from drillbook.cli import signals
from drillbook.cli.output import say
from drillbook.errors import PreflightError

if TYPE_CHECKING:
    from drillbook.sandbox.lifecycle import Sandbox


@click.group()
def command() -> None:
    """A small Kubernetes on this machine whose pods are real processes."""


_NAME = click.option(
    "--name", default="default", show_default=True, metavar="NAME", help="Several sandboxes can be up at once."
)


@command.command()
@_NAME
@click.option(
    "--engine",
    type=click.Choice(["sim", "vllm"]),
    default="sim",
    show_default=True,
    help="What serves in the engine pods.",
)
@click.option(
    "--stack",
    "stack_name",
    default="production-stack",
    show_default=True,
    metavar="STACK",
    help="Which manifests: production-stack, distributed (one engine over two pods), pipeline (the same, by layers), "
    "guardrailed (behind a guardrail gateway), autoscaled (with an HPA), small-cache (little room for KV), "
    "sticky (its router keeps a session on one engine), "
    "and for rollouts canary, blue-green, guarded-canary and undoing (docs/rollouts.md).",
)
@click.option(
    "--replicas", type=click.IntRange(0, 200), help="Engines (3 of sim, 2 of vllm; 1 where one has several pods)."
)
@click.option(
    "--vllm-python",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Python of an environment that has vLLM.",
)
def up(name: str, engine: str, stack_name: str, replicas: int | None, vllm_python: Path | None) -> None:
    """Start a sandbox, and wait until it answers with a token."""
    from drillbook.sandbox import lifecycle

    sandbox = signals.run(
        lifecycle.up(
            name,
            engine=engine,
            stack_name=stack_name,
            replicas=replicas,
            vllm_python=str(vllm_python) if vllm_python else None,
            on_progress=say,
        )
    )
    named = "" if name == "default" else f" --sandbox {name}"
    click.echo(f"sandbox {sandbox.name} is up ({sandbox.engine}): {sandbox.endpoint}/v1")
    click.echo(f"  export KUBECONFIG={sandbox.kubeconfig}")
    click.echo(f"  kubectl -n {sandbox.namespace} get pods")
    click.echo(f"  drillbook run pod-kill{named}")


@command.command()
@_NAME
@click.option("--all", "every", is_flag=True, help="Every sandbox of this user, also half-dead ones.")
def down(name: str, every: bool) -> None:
    """Take a sandbox down, and remove everything that it left on this machine."""
    from drillbook.sandbox import lifecycle

    names = lifecycle.names() if every else [name]
    for each in names:
        removed = signals.run(lifecycle.down(each))
        click.echo(f"sandbox {each} is down" if removed else f"sandbox {each} was not up")
    if not names:
        click.echo("no sandbox was up")


@command.command()
@_NAME
@click.option("--json", "as_json", is_flag=True, help="For a script.")
def status(name: str, as_json: bool) -> None:
    """Say what is up."""
    from drillbook.sandbox import lifecycle

    state = signals.run(lifecycle.status(name))
    if as_json:
        click.echo(json.dumps(state, indent=2, default=str))
        return
    for key, value in state.items():
        if value or key == "state":
            _show(key, value)
    if state["state"] == "absent":
        click.echo(f"start it: drillbook sandbox up{'' if name == 'default' else f' --name {name}'}")


def _show(key: str, value: object) -> None:
    rows = [f"{name}  {phase}" for name, phase in value.items()] if isinstance(value, dict) else value
    for row in rows if isinstance(rows, list) else [rows]:
        click.echo(f"{key:12} {row}")
        key = ""


@command.command()
@_NAME
@click.argument("pods", type=click.IntRange(0, 20_000))
def hollow(name: str, pods: int) -> None:
    """Give the sandbox a fleet of PODS engines without processes, in the namespace fleet; 0 takes it away."""
    from drillbook.sandbox import fleet

    signals.run(fleet.resize(_up(name).api_url, pods, say))
    click.echo(f"{pods} hollow pods are available" if pods else "no hollow pods")
    if pods:
        click.echo(f"  kubectl -n {fleet.NAMESPACE} get pods --limit 3")


@command.command("control-plane")
@_NAME
@click.argument("action", type=click.Choice(["stop", "start"]))
def control_plane(name: str, action: str) -> None:
    """Kill the sandbox's control plane, or start it again from its store. Pods and Services live on."""
    from drillbook.sandbox import lifecycle

    _up(name)
    if action == "stop":
        signals.run(lifecycle.control_down(name))
        click.echo(f"the control plane of sandbox {name} is gone; its pods go on")
    else:
        signals.run(lifecycle.control_up(name))
        click.echo(f"the control plane of sandbox {name} answers again")


def _up(name: str) -> Sandbox:
    from drillbook.sandbox import lifecycle

    found = lifecycle.find(name)
    if found is None:
        hint = f"start it: drillbook sandbox up{'' if name == 'default' else f' --name {name}'}"
        raise PreflightError(f"sandbox {name} is not up", hint=hint)
    return found
