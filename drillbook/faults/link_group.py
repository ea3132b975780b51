"""Which links a step hits: between which pods of one engine, and in which direction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from drillbook.errors import PreflightError, UnsupportedError
from drillbook.faults import gangs
from drillbook.faults.fault import Draw
from drillbook.faults.gangs import runs
from drillbook.model.experiment import Step
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target

_WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
_GROUP = "leaderworkerset.sigs.k8s.io/group-index"


class LinkStep(Step):
    """A step between the pods over which one engine's ranks are spread."""

    role: str = "engine"
    group: int | None = Field(default=None, ge=0)
    """The group's index (LeaderWorkerSet), where there are several; the run's seed chooses otherwise."""
    ranks: tuple[int, ...] = ()
    """Pods of the group by their index in it, two or more; all of them otherwise."""
    names: tuple[str, ...] = ()
    """These very pods, instead of a group."""
    direction: Literal["both", "to", "from"] = "both"
    """Seen from the first of the pods: what it sends, what it receives, or, between all of them, both."""
    driver: Literal["auto", "helper", "ephemeral", "chaos-mesh"] = "auto"
    """What holds the rule; the first that the target allows otherwise."""
    spared_ports: tuple[int, ...] = ()
    """TCP ports that are left alone, beside those of the pods' HTTP servers and probes."""


@dataclass(frozen=True)
class Links:
    """Pods of one engine, the first rank first, and who sends to whom on the links that are hit."""

    pods: tuple[Json, ...]
    edges: tuple[tuple[int, int], ...]
    """Sender and receiver, as places in ``pods``."""
    spared: tuple[int, ...]

    def peers(self, holder: int, *, sending: bool) -> tuple[int, ...]:
        """To whom a pod sends (``sending``), or from whom it receives, on these links."""
        return tuple(
            (receiver if sending else sender)
            for sender, receiver in self.edges
            if holder == (sender if sending else receiver)
        )

    def __str__(self) -> str:
        names = [pod["metadata"]["name"] for pod in self.pods]
        both = len(self.edges) == len(self.pods) * (len(self.pods) - 1)
        if both:
            return f"between {', '.join(names[:-1])} and {names[-1]}"
        return "; ".join(f"from {names[sender]} to {names[receiver]}" for sender, receiver in self.edges)


async def choose(step: LinkStep, index: int, target: Target, draw: Draw) -> Links:
    """The links of one step.

    :raises PreflightError: there is no such group, or not as many pods in it.
    :raises UnsupportedError: the engine's ranks are all in one pod, or the pods have no network of their own.
    """
    what = f"step {index} ({step.fault})"
    usable = [pod for pod in await target.pods(step.role) if runs(pod) and pod["status"].get("podIP")]
    if step.names:
        pods = [pod for pod in usable if pod["metadata"]["name"] in step.names]
        missing = sorted(set(step.names) - {pod["metadata"]["name"] for pod in pods})
        if missing:
            raise PreflightError(f"{what}: no running {step.role} pod is called {', '.join(missing)}")
    else:
        pods = _group(what, step, usable, draw)
    pods.sort(key=lambda pod: (_place(pod), pod["metadata"]["name"]))
    if step.ranks:
        places = {_place(pod): pod for pod in pods}
        if missing := [str(rank) for rank in step.ranks if rank not in places]:
            there = ", ".join(map(str, sorted(places)))
            raise PreflightError(f"{what}: the group has no pod {', '.join(missing)}", hint=f"it has {there}")
        pods = [places[rank] for rank in step.ranks]
    if len(pods) < 2:
        name = pods[0]["metadata"]["name"] if pods else "the engine"
        raise UnsupportedError(
            f"{what}: all ranks of {name} are in one pod, where they talk over NVLink, PCIe or shared memory",
            hint="there is no link to hit; this fault is for an engine that is spread over several pods",
        )
    if on_host := [pod["metadata"]["name"] for pod in pods if pod["spec"].get("hostNetwork")]:
        raise UnsupportedError(
            f"{what}: {', '.join(on_host)} has the node's own network (hostNetwork)",
            hint="a rule there would hit other pods of the two nodes; throttle at the switch instead",
        )
    count = range(len(pods))
    edges = {
        "both": [(one, other) for one in count for other in count if one != other],
        "to": [(0, other) for other in count if other],
        "from": [(other, 0) for other in count if other],
    }[step.direction]
    spared = {*step.spared_ports, *_served(pods), target.stack.role(step.role).port}
    draw.take(pods)
    return Links(tuple(pods), tuple(edges), tuple(sorted(spared)))


def addresses(pod: Json) -> list[str]:
    """All of a pod's own addresses."""
    status = pod["status"]
    return [each["ip"] for each in status.get("podIPs") or [{"ip": status["podIP"]}]]


def _group(what: str, step: LinkStep, usable: Objects, draw: Draw) -> Objects:
    groups: dict[str, Objects] = {}
    for pod in usable:
        groups.setdefault(gangs.of(pod), []).append(pod)
    spread = [pods for pods in groups.values() if len(pods) > 1]
    if step.group is not None:
        chosen = [pods for pods in spread if _mark(pods[0], _GROUP) == str(step.group)]
        if not chosen:
            there = ", ".join(sorted(_mark(pods[0], _GROUP) for pods in spread)) or "none"
            raise PreflightError(f"{what}: there is no group {step.group} of several pods", hint=f"there is: {there}")
        return chosen[0]
    if not spread:
        return usable[:1]
    (first,) = draw.choose([pods[0] for pods in spread], 1, f"links of {what}")
    return next(pods for pods in spread if pods[0] is first)


def _served(pods: Objects) -> Iterator[int]:
    """The ports of HTTP servers: those that say so, and those that a probe asks."""
    for pod in pods:
        for container in pod["spec"]["containers"]:
            named = {row.get("name", ""): row["containerPort"] for row in container.get("ports") or []}
            yield from (port for name, port in named.items() if "http" in name or "metrics" in name)
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                for way in ("httpGet", "tcpSocket"):
                    port: Any = ((container.get(probe) or {}).get(way) or {}).get("port")
                    if port is not None:
                        yield int(named.get(port, port) if isinstance(port, str) else port)


def _place(pod: Json) -> int:
    mark = _mark(pod, _WORKER)
    return int(mark) if mark.isdigit() else 0


def _mark(pod: Json, key: str) -> str:
    return str((pod["metadata"].get("labels") or {}).get(key, ""))
