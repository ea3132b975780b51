"""node-taint: a taint on a node. NoExecute ends at once whatever does not tolerate it; the undo removes our taint only.

It takes no account of disruption budgets, unlike an eviction. Pods of other namespaces that it would end are a reason
to refuse.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from drillbook.errors import PreflightError, RefusedError
from drillbook.faults import evictions, fields, nodes, proof
from drillbook.faults.evictions import Evicted
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike
from drillbook.faults.nodes import Effect, NodeStep
from drillbook.faults.pod_evict import longest_grace
from drillbook.faults.selection import radius
from drillbook.model.plan import PlannedFault
from drillbook.targets import paths
from drillbook.targets.target import Target


class NodeTaintStep(NodeStep):
    """Taint one node."""

    fault: Literal["node-taint"]
    key: str = Field(
        default="drillbook.io/drill", pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$"
    )
    value: str = Field(default="", pattern=r"^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$")
    effect: Effect = "NoExecute"


class NodeTaint:
    """See the module."""

    name = "node-taint"
    summary = "taint a node (NoExecute ends what does not tolerate it); undone by removing our taint"
    step = NodeTaintStep

    async def plan(self, step: NodeTaintStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        place = await nodes.choose(step, index, target, draw)
        taint = {"key": step.key, "effect": step.effect} | ({"value": step.value} if step.value else {})
        if nodes.has_taint(place.obj, taint):
            raise PreflightError(f"step {index} (node-taint): {place.ref} has {nodes.spoken(taint)} already")
        hit = nodes.driven_away(place.pods, taint) if step.effect == "NoExecute" else []
        if step.effect == "NoExecute":
            await spare_strangers(place, taint, target)
        refs = tuple(map(paths.pod_ref, hit))
        undo = nodes.untaint(place.ref, taint)
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"taint {place.ref} {nodes.spoken(taint)}: {len(refs)} pods of {target.namespace} must go",
            targets=(*refs, place.ref),
            calls=(nodes.taint_call(place.ref, taint),),
            undo=(undo,),
            undo_summary=f"remove {nodes.spoken(taint)} from {place.ref}; other taints stay",
            radius=await radius(hit, step.role, await target.pods(step.role), target) if hit else nodes.UNTOUCHED,
            permissions=(*fields.permissions(place.ref), *evictions.permissions(target)[:1], *nodes.all_pods()),
            options={"taint": taint, "grace": longest_grace(hit)},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        *_, node = planned.targets
        taint: Any = planned.options["taint"]
        if nodes.has_taint(await fields.current(node, target), taint):
            raise RefusedError(f"{node} had {nodes.spoken(taint)} already before the fault")
        undo = nodes.untaint(node, taint)
        await record((undo,))
        doubt = await strike([nodes.put_taint(node, taint, target)])
        return Injected(f"{node} tainted {nodes.spoken(taint)}{doubt}", undo=(undo,))

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        *pods, node = planned.targets
        taint: Any = planned.options["taint"]

        async def look() -> Bite:
            has = nodes.has_taint(await target.kube.get(paths.of(node)), taint)
            return Bite(has, f"{node} {'has' if has else 'has not'} {nodes.spoken(taint)}")

        tainted = await proof.until(look, seconds)
        if not pods or not tainted.bit:
            return tainted
        grace: Any = planned.options["grace"]
        gone = await evictions.ended(Evicted(going=list(pods)), target, seconds + grace)
        return Bite(gone.bit, f"{tainted.detail}; {gone.detail}")


async def spare_strangers(place: nodes.Place, taint: dict[str, str], target: Target) -> None:
    """See that only pods of the target would be ended.

    :raises PreflightError: others would be.
    """
    others = nodes.driven_away(await nodes.strangers(place, target), taint)
    if others:
        names = ", ".join(f"{pod['metadata']['namespace']}/{pod['metadata']['name']}" for pod in others[:5])
        raise PreflightError(
            f"{nodes.spoken(taint)} on {place.ref} would end {len(others)} pods of other namespaces: {names}",
            hint="choose a node that the target has to itself, or use node-drain, which leaves others alone",
        )


FAULT: Fault = NodeTaint()
