"""``Target``: one live deployment, ready to be looked at and broken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drillbook.errors import PreflightError, UnsupportedError
from drillbook.model.experiment import TargetSpec
from drillbook.targets import accelerators, endpoint, labels, paths
from drillbook.targets import stack as stacks
from drillbook.targets.endpoint import Endpoint, Fronts
from drillbook.targets.kube import Kube, Objects
from drillbook.targets.stack import Stack
from drillbook.targets.traffic import Traffic

if TYPE_CHECKING:
    from drillbook.sandbox.lifecycle import Sandbox


SANDBOX_VERSION = "+drillbook"
"""How the version of a sandbox's API server ends."""


class Target:
    """Where the pods are, which stack they make up, and where it answers. Use ``open_target``; ``close`` when done."""

    def __init__(
        self,
        kube: Kube,
        spec: TargetSpec,
        namespace: str,
        stack: Stack,
        *,
        sandbox: Sandbox | None = None,
        kubeconfig: Path | None = None,
    ) -> None:
        self.kube, self.spec, self.namespace, self.stack = kube, spec, namespace, stack
        self.context = kube.context
        self.kubeconfig = kubeconfig
        """What the watchdog connects with; None where the usual places serve."""
        self.simulated = sandbox is not None
        """True in the sandbox; every report says so."""
        where = f"sandbox {sandbox.name} ({sandbox.engine})" if sandbox else kube.context
        self.label = f"{where}/{namespace}"
        self._url = spec.endpoint or (sandbox.endpoint if sandbox else None)
        self.traffic: Traffic | None = None
        """The load of the run, while there is one."""
        self._endpoint: Endpoint | None = None
        self._looking = False
        self._seen: Objects | None = None
        self._roles: dict[str, Objects] = {}

    async def close(self) -> None:
        await self.kube.close()

    async def __aenter__(self) -> Target:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def pods(self, role: str = "engine") -> Objects:
        """All pods of a role, by name, whatever state they are in.

        :raises PreflightError: the stack has no such role, and the experiment gives no selector for it.
        """
        selectors = self._selectors(role)
        if not selectors:
            return sorted((pod for pod in await self.everything() if self.role_of(pod) == role), key=_name)
        if self._looking:
            if role not in self._roles:
                marked = ((pod, pod["metadata"].get("labels") or {}) for pod in await self.everything())
                self._roles[role] = sorted((pod for pod, marks in marked if _any_matches(selectors, marks)), key=_name)
            return list(self._roles[role])
        found = {}
        for selector in selectors:
            for pod in await self.kube.list(paths.pods(self.namespace), labels=selector):
                found[pod["metadata"]["uid"]] = pod
        return sorted(found.values(), key=_name)

    async def everything(self) -> Objects:
        """All pods of the namespace."""
        if self._seen is not None:
            return self._seen
        pods = await self.kube.list(paths.pods(self.namespace))
        if self._looking:
            self._seen = pods
        return pods

    @contextmanager
    def one_look(self) -> Iterator[None]:
        """Within it the pods are listed once: a plan is of one moment, and a fleet of 10,000 pods is read once."""
        self._looking = True
        try:
            yield
        finally:
            self._looking, self._seen, self._roles = False, None, {}

    def role_of(self, pod: dict[str, Any]) -> str:
        """The first role whose labels the pod has, the experiment's own selectors first; else empty."""
        marks = pod["metadata"].get("labels") or {}
        own = self.spec.selectors
        for role in [*own, *(name for name in self.stack.roles if name not in own)]:
            if _any_matches(self._selectors(role), marks):
                return role
        guessed = self.stack.name == stacks.ANY and "engine" not in own
        return "engine" if guessed and (accelerators.count(pod) or stacks.serves(pod)) else ""

    def container(self, pod: dict[str, Any], role: str) -> str:
        """The container in which the role's own program runs: by the stack's names, by its GPUs, or the only one.

        :raises UnsupportedError: it cannot be told.
        """
        names = [container["name"] for container in pod["spec"]["containers"]]
        usual = self.stack.roles[role].containers if role in self.stack.roles else ()
        for name in (*usual, accelerators.holder(pod)):
            if name in names:
                return str(name)
        if len(names) == 1:
            return str(names[0])
        raise UnsupportedError(
            f"pod {pod['metadata']['name']} has several containers and none is known to be the {role}'s",
            hint=f"say which: container: {' | '.join(names)}",
        )

    async def endpoint(self) -> str:
        """Base URL of the OpenAI-compatible API, without ``/v1``; found once.

        :raises UnreachableError: it does not answer from here.
        """
        return (await self._answering()).url

    async def endpoint_inside(self) -> str:
        """The same as pods reach it: its Service's own address where ours is a way through this machine.

        :raises UnreachableError: it does not answer from here, or no Service is in front of it.
        """
        url = await self.endpoint()
        if self.simulated or not endpoint.is_loopback(url):
            return url
        return endpoint.inside(await self._services(), await self._fronts(), self.namespace)

    async def model(self) -> str:
        """The served model's name.

        :raises PreflightError: the endpoint does not tell.
        """
        name = self.spec.model or (await self._answering()).model
        if not name:
            raise PreflightError(f"{await self.endpoint()}/v1/models names no model", hint="give target.model")
        return name

    async def facts(self) -> dict[str, str]:
        """Versions and sizes, for the report: Kubernetes, the stack, images, pods and GPUs by role."""
        found = {"kubernetes": await self.kube.version(), "stack": self.stack.name}
        for role in dict.fromkeys(["engine", *self.stack.roles, *self.spec.selectors]):
            pods = await self.pods(role)
            if not pods:
                continue
            found[f"{role} pods"] = str(len(pods))
            if gpus := sum(map(accelerators.count, pods)):
                found[f"{role} GPUs"] = str(gpus)
            images = {
                c["image"] for pod in pods for c in pod["spec"]["containers"] if c["name"] == self._main(pod, role)
            }
            found[f"{role} image"] = ", ".join(sorted(images))
        return found

    def _main(self, pod: dict[str, Any], role: str) -> str:
        try:
            return self.container(pod, role)
        except UnsupportedError:
            return ""

    def _selectors(self, role: str) -> tuple[str, ...]:
        if role in self.spec.selectors:
            return (self.spec.selectors[role],)
        if self.stack.name == stacks.ANY and role == "engine":
            return ()
        return self.stack.role(role).selectors

    async def _answering(self) -> Endpoint:
        if self._endpoint is None:
            if self._url:
                self._endpoint = await endpoint.ask(self._url)
            else:
                self._endpoint = await endpoint.find(await self._services(), await self._fronts(), self.namespace)
        return self._endpoint

    async def _services(self) -> Objects:
        return await self.kube.list(paths.collection("v1", "services", self.namespace))

    async def _fronts(self) -> Fronts:
        known = {**dict.fromkeys(self.spec.selectors), **dict.fromkeys(self.stack.roles), "engine": None}
        order = [role for role in ("gateway", "router", "leader", "engine") if role in known]
        return [(await self.pods(role), self._port(role)) for role in order]

    def _port(self, role: str) -> int:
        return self.stack.roles[role].port if role in self.stack.roles else 8000


async def open_target(
    spec: TargetSpec, *, sandbox: Sandbox | None = None, kubeconfig: Path | None = None, context: str | None = None
) -> Target:
    """Connect, and find out which stack is there. ``sandbox`` and ``context`` win over what the experiment says.

    :raises UnreachableError: the API server does not answer, or there are no credentials.
    :raises PreflightError: nothing that serves vLLM is in the namespace.
    """
    if sandbox is not None:
        kubeconfig = sandbox.kubeconfig
        kube = await Kube.from_kubeconfig(sandbox.kubeconfig, sandbox.context)
    elif (context or spec.context) == "sandbox":
        raise PreflightError("the sandbox is not running", hint="start it: drillbook sandbox up")
    else:
        kube = await Kube.from_kubeconfig(kubeconfig, context or spec.context)
    try:
        namespace = spec.namespace or (sandbox.namespace if sandbox else kube.namespace)
        stack = stacks.stack_named(spec.stack) if spec.stack != "auto" else await _detect(kube, namespace)
        version = await kube.version()
    except BaseException:  # a cancellation too: nobody else has it to close
        await kube.close()
        raise
    target = Target(kube, spec, namespace, stack, sandbox=sandbox, kubeconfig=kubeconfig)
    target.simulated |= version.endswith(SANDBOX_VERSION)  # also for who reaches it by its kubeconfig, or from inside
    return target


async def _detect(kube: Kube, namespace: str) -> Stack:
    pods = await kube.list(paths.pods(namespace))
    for stack in stacks.stacks().values():
        if any(labels.matches(stack.detect, pod["metadata"].get("labels") or {}) for pod in pods):
            return stack
    if any(accelerators.count(pod) or stacks.serves(pod) for pod in pods):
        return stacks.stack_named(stacks.ANY)
    raise PreflightError(
        f"none of the {len(pods)} pods in namespace {namespace} of {kube.context} serves vLLM",
        hint="give target.namespace, or target.selectors: {engine: 'app=…'} with stack: other",
    )


def _any_matches(selectors: Iterable[str], marks: Mapping[str, str]) -> bool:
    return any(labels.matches(selector, marks) for selector in selectors)


def _name(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["name"])
