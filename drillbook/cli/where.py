"""Where to act: the options that name a target, and the target opened. Shared by every command that needs one.

The order is: what the command line says, then what the experiment's ``target`` says, then a sandbox that is up. Never
the current context of a kubeconfig by mere default: a drill must not hit a cluster because nobody said otherwise.
"""

from __future__ import annotations

import contextlib
import functools
import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from drillbook.errors import PreflightError, RefusedError, UsageError
from drillbook.model.experiment import TargetSpec

if TYPE_CHECKING:  # the Kubernetes client and the sandbox are for those who open a target
    from drillbook.sandbox.lifecycle import Sandbox
    from drillbook.targets.target import Target

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Where:
    """What the command line said about the target."""

    sandbox: str | None = None
    engine: str | None = None
    replicas: int | None = None
    vllm_python: Path | None = None
    kubeconfig: Path | None = None
    context: str | None = None
    namespace: str | None = None
    endpoint: str | None = None

    @property
    def spoken(self) -> str:
        """The options by which another command finds the same target."""
        names = ("sandbox", "kubeconfig", "context", "namespace", "endpoint")
        said = {name: getattr(self, name) for name in names}
        return " ".join(f"--{name} {shlex.quote(str(value))}" for name, value in said.items() if value is not None)

    def over(self, spec: TargetSpec) -> TargetSpec:
        """The experiment's target with what the command line says laid over it."""
        said = {"context": self.context, "namespace": self.namespace, "endpoint": self.endpoint}
        return spec.model_copy(update={key: value for key, value in said.items() if value is not None})


def options(function: F) -> F:
    """The shared options, handed to the command as one ``where``."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> Any:
        where = Where(**{each.name: kwargs.pop(each.name) for each in fields(Where)})
        if where.sandbox and (where.context or where.kubeconfig):
            raise UsageError("--sandbox and --context name two different targets", hint="leave one of them out")
        if where.vllm_python and where.engine != "vllm":
            raise UsageError("--vllm-python is for engines of real vLLM", hint="add --engine vllm")
        return function(*args, where=where, **kwargs)

    wrapped: Any = command
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]  # click's decorators hand back what they are given


_PATH = click.Path(exists=True, dir_okay=False, path_type=Path)
runs = click.option(
    "--runs",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="The folder of run folders.",
)
"""Where runs are kept, for the commands that write or read them."""

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
        help="Engine of a sandbox that is started here: sim by default.",
    ),
    click.option("--replicas", type=click.IntRange(1, 200), help="Engine replicas of a sandbox that is started here."),
    click.option("--vllm-python", type=_PATH, help="Python of an environment that has vLLM, for --engine vllm."),
    click.option("--kubeconfig", type=_PATH, help="A kubeconfig instead of $KUBECONFIG and ~/.kube/config."),
    click.option("--context", metavar="NAME", help="A context of the kubeconfig; in a pod: in-cluster."),
    click.option("--namespace", "-n", metavar="NAME", help="The target's namespace."),
    click.option("--endpoint", metavar="URL", help="Base URL of the OpenAI-compatible API, without /v1."),
)


def said(where: Where) -> bool:
    """Whether the command line names a target at all."""
    return any((where.sandbox, where.context, where.kubeconfig, where.endpoint, where.namespace))


@contextlib.asynccontextmanager
async def opened(
    where: Where, spec: TargetSpec, say: Callable[[str], None], *, start: bool = True, monitored: bool = False
) -> AsyncIterator[Target]:
    """The target, connected to. A sandbox that was started here is taken down again at the end.

    :param start: whether a sandbox that is not up may be started.
    :param monitored: whether a sandbox shall run Prometheus with the alert rules, where this machine has it.

    Raises:
        UsageError: nobody said where, or a sandbox of that name is up with other engines.
        PreflightError: the sandbox is not up and may not be started, or nothing there serves vLLM.
        UnreachableError: the target does not answer.

    """
    from drillbook.targets.target import open_target

    spec = where.over(spec)
    async with contextlib.AsyncExitStack() as stack:
        name = _sandbox_name(where, spec)
        sandbox = None
        if name is not None:
            sandbox = await stack.enter_async_context(_sandbox(name, where, spec, say, start=start))
            if monitored and spec.prometheus is None:
                await _monitor(sandbox, say)
        try:
            target = await open_target(spec, sandbox=sandbox, kubeconfig=where.kubeconfig)
        except RefusedError as error:
            raise PreflightError(error.message, error.hint) from error
        yield await stack.enter_async_context(target)


async def _monitor(sandbox: Sandbox, say: Callable[[str], None]) -> None:
    from drillbook import catalog
    from drillbook.sandbox import monitoring

    if why := monitoring.unavailable(sandbox):
        say(f"no Prometheus: {why}; what is asked of it will be inconclusive")
        return
    rules = catalog.alert_rules()
    await monitoring.ensure(sandbox, {rules.name: rules.read_text(encoding="utf-8")}, say)


def _sandbox_name(where: Where, spec: TargetSpec) -> str | None:
    """Which sandbox is meant; None where a cluster is."""
    from drillbook.sandbox import lifecycle

    if where.sandbox or spec.context == "sandbox":
        return where.sandbox or "default"
    if spec.context is not None or where.kubeconfig is not None:
        return None
    if lifecycle.find("default") is None:
        raise UsageError(
            "no target: neither the command line nor the experiment says where",
            hint="--sandbox for the embedded one, --context NAME for a cluster of your kubeconfig",
        )
    return "default"


@contextlib.asynccontextmanager
async def _sandbox(
    name: str, where: Where, spec: TargetSpec, say: Callable[[str], None], *, start: bool
) -> AsyncIterator[Sandbox]:
    from drillbook.sandbox import lifecycle, stack

    wanted = spec.sandbox or stack.layout_like(spec.stack)
    found = lifecycle.find(name)
    if found is not None:
        if wanted is not None and not stack.same(found.stack, wanted, exactly=spec.sandbox is not None):
            raise UsageError(
                f"sandbox {name} is up with the stack {found.stack}; this experiment is for {wanted}",
                hint=f"another one beside it: --sandbox NAME; or drillbook sandbox down --name {name}",
            )
        if where.engine not in (None, found.engine):
            raise UsageError(
                f"sandbox {name} is up with {found.engine} engines, not {where.engine}",
                hint=f"drillbook sandbox down --name {name}; or another one beside it: --sandbox NAME",
            )
        yield found
        return
    if not start:
        hint = f"start it: drillbook sandbox up{'' if name == 'default' else f' --name {name}'}"
        raise PreflightError(f"sandbox {name} is not up", hint=hint)
    try:
        yield await lifecycle.up(
            name,
            engine=where.engine or "sim",
            stack_name=wanted or "production-stack",
            replicas=where.replicas,
            vllm_python=str(where.vllm_python) if where.vllm_python else None,
            on_progress=say,
        )
    finally:
        say("taking the sandbox down")
        await lifecycle.down(name)
