"""Where to act: the options that name a target, and the target opened. Shared by every command that needs one.

The order is: what the command line says, then what the experiment's ``target`` says, then a sandbox that is up. Never
the current context of a kubeconfig by mere default: a drill must not hit a cluster because nobody said otherwise.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from drillbook.errors import UsageError
from drillbook.model.experiment import TargetSpec

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """What the command line said about the target."""

    sandbox: str | None = None
    engine: str = "sim"
    replicas: int | None = None
    vllm_python: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    endpoint: str | None = None

    def over(self, spec: TargetSpec) -> TargetSpec:
        """The experiment's target with what the command line says laid over it."""
        said = {"context": self.context, "namespace": self.namespace, "endpoint": self.endpoint}
        return spec.model_copy(update={key: value for key, value in said.items() if value is not None})


def options(function: F) -> F:
    """The shared options, handed to the command as one ``where``."""

    def command(*args: Any, **kwargs: Any) -> Any:
        names = ("sandbox", "engine", "replicas", "vllm_python", "kubeconfig", "context", "namespace", "endpoint")
        where = Where(**{name: kwargs.pop(name) for name in names})
        if where.sandbox and (where.context or where.kubeconfig):
            raise UsageError("--sandbox and --context name two different targets", hint="leave one of them out")
        return function(*args, where=where, **kwargs)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    for parameter in getattr(function, "__click_params__", []):
        command.__dict__.setdefault("__click_params__", []).append(parameter)
    wrapped: Any = command
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click's decorators hand back what they are given


_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option(
        "--sandbox",
        is_flag=False,
        flag_value="default",
        metavar="[NAME]",
        help="The embedded sandbox; started if it is not up.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["sim", "vllm"]),
        default="sim",
        show_default=True,
        help="Engine of a sandbox that is started here.",
    ),
    click.option("--replicas", type=click.IntRange(1, 200), help="Engine replicas of a sandbox that is started here."),
    click.option("--vllm-python", type=_PATH, help="Python of an environment that has vLLM, for --engine vllm."),
    click.option("--kubeconfig", type=_PATH, help="A kubeconfig instead of $KUBECONFIG and ~/.kube/config."),
    click.option("--context", metavar="NAME", help="A context of the kubeconfig."),
    click.option("--namespace", "-n", metavar="NAME", help="The target's namespace."),
    click.option("--endpoint", metavar="URL", help="Base URL of the OpenAI-compatible API, without /v1."),
)


def said(where: Where) -> bool:
    """Whether the command line names a target at all."""
    return any((where.sandbox, where.context, where.kubeconfig, where.endpoint, where.namespace))


@contextlib.asynccontextmanager
async def opened(where: Where, spec: TargetSpec, say: Callable[[str], None]) -> AsyncIterator[Any]:
    """The target, connected to. A sandbox that was started here is taken down again at the end.

    Raises:
        UsageError: nobody said where.
        UnreachableError: the target does not answer.

    """
    from drillbook.sandbox import lifecycle
    from drillbook.targets.target import open_target

    spec = where.over(spec)
    name = where.sandbox or ("default" if spec.context == "sandbox" else None)
    if name is None and spec.context is None and where.kubeconfig is None:
        if lifecycle.find("default") is None:
            raise UsageError(
                "no target: neither the command line nor the experiment says where",
                hint="--sandbox for the embedded one, --context NAME for a cluster of your kubeconfig",
            )
        name = "default"
    if name is None:
        async with await open_target(spec, kubeconfig=where.kubeconfig) as target:
            yield target
        return
    sandbox = lifecycle.find(name)
    started_here = sandbox is None
    try:
        if sandbox is None:
            sandbox = await lifecycle.up(
                name,
                engine=where.engine,
                replicas=where.replicas,
                vllm_python=str(where.vllm_python) if where.vllm_python else None,
                on_progress=say,
            )
        async with await open_target(spec, sandbox=sandbox) as target:
            yield target
    finally:
        if started_here:
            say("taking the sandbox down")
            await lifecycle.down(name)
