"""Evicting pods through the Eviction API, which asks the PodDisruptionBudgets. Their no is a finding, not an error.

https://kubernetes.io/docs/concepts/scheduling-eviction/api-eviction/
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from drillbook import clock
from drillbook.faults import proof
from drillbook.faults.fault import Bite, strike
from drillbook.model.plan import Call, Permission
from drillbook.model.undo import ObjectRef
from drillbook.targets import paths
from drillbook.targets.answers import ApiError, ConflictError, DisruptionError, NotFoundError
from drillbook.targets.kube import Json, Kube
from drillbook.targets.target import Target

AGAIN_SECONDS = 5.0
"""How often a refused eviction is asked for again, as ``kubectl drain`` does."""


@dataclass
class Evicted:
    """What came of asking."""

    going: list[ObjectRef] = field(default_factory=list)
    """Their eviction was granted, or they were gone already."""
    refused: dict[str, str] = field(default_factory=dict)
    """Why, in the server's words, by the name of the pod."""
    doubt: str = ""

    def __str__(self) -> str:
        told = [f"evicted {', '.join(ref.name for ref in self.going)}"] if self.going else []
        told += [f"a disruption budget protects {name} (429): {why}" for name, why in self.refused.items()]
        return "; ".join(told) + self.doubt


async def ask(refs: tuple[ObjectRef, ...], target: Target, patience: float) -> Evicted:
    """Ask for all of them at once, and for those that a budget refuses again for ``patience`` seconds.

    :raises RefusedError: a refusal that is no budget's.
    """
    version = await _version(target.kube)
    outcome = Evicted()
    until = clock.monotonic() + patience
    outcome.doubt = await strike(_evict(ref, target, version, until, outcome) for ref in refs)
    return outcome


async def _evict(ref: ObjectRef, target: Target, version: str, until: float, outcome: Evicted) -> None:
    while True:
        try:
            await target.kube.evict(ref.namespace, ref.name, uid=ref.uid, version=version)
        except DisruptionError as error:
            if clock.monotonic() + AGAIN_SECONDS > until:
                outcome.refused[ref.name] = error.message.partition(": ")[2]
                return
            await asyncio.sleep(AGAIN_SECONDS)
        except (NotFoundError, ConflictError):
            outcome.going.append(ref)
            return
        else:
            outcome.going.append(ref)
            return


async def _version(kube: Kube) -> str:
    """The version of Eviction that the server takes, as it says itself beside the resource."""
    try:
        resources = (await kube.get("/api/v1")).get("resources") or []
    except ApiError:
        return "policy/v1"
    for row in resources:
        if row["name"] == "pods/eviction" and row.get("group") and row.get("version"):
            return f"{row['group']}/{row['version']}"
    return "policy/v1"


async def ended(outcome: Evicted, target: Target, seconds: float) -> Bite:
    """The proof: those that were evicted serve nobody any more. All of them refused is an answer of the target too."""
    left = list(outcome.going)

    async def look() -> Bite:
        left[:] = [ref for ref in left if not await out_of_service(ref, target)]
        if left:
            return Bite(False, f"{', '.join(ref.name for ref in left)} still serves")
        return Bite(True, str(outcome))

    return await proof.until(look, seconds)


async def out_of_service(ref: ObjectRef, target: Target) -> bool:
    """Whether the very pod is gone, or on its way out and not Ready.

    A busy kubelet takes up to a minute to let go of a pod whose containers ended long ago.
    """
    pod = await target.kube.find(paths.of(ref))
    if pod is None or _ended(pod, ref):
        return True
    rows = pod.get("status", {}).get("conditions") or []
    ready = any(row["type"] == "Ready" and row["status"] == "True" for row in rows)
    return "deletionTimestamp" in pod["metadata"] and not ready


async def gone(ref: ObjectRef, target: Target) -> bool:
    """Whether the very pod has left the API, or all its containers have ended."""
    pod = await target.kube.find(paths.of(ref))
    return pod is None or _ended(pod, ref)


def _ended(pod: Json, ref: ObjectRef) -> bool:
    if pod["metadata"]["uid"] != ref.uid:
        return True
    statuses = pod.get("status", {}).get("containerStatuses") or []
    return bool(statuses) and all("terminated" in (status.get("state") or {}) for status in statuses)


def calls(refs: tuple[ObjectRef, ...]) -> tuple[Call, ...]:
    """The requests as a plan shows them."""
    return tuple(
        Call(
            verb="POST",
            path=f"{paths.of(ref)}/eviction",
            body=f'{{"kind": "Eviction", "deleteOptions": {{"preconditions": {{"uid": "{ref.uid}"}}}}}}',
            why=f"evict {ref.name}",
        )
        for ref in refs
    )


def permissions(target: Target) -> tuple[Permission, ...]:
    """What evicting takes."""
    return (
        Permission(verb="get", group="", resource="pods", namespace=target.namespace),
        Permission(verb="create", group="", resource="pods", subresource="eviction", namespace=target.namespace),
    )
