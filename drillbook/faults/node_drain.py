"""node-drain: cordon a node and evict the target's pods from it, as ``kubectl drain`` does. The undo uncordons.

Pods of DaemonSets and static pods stay, and so do pods of other namespaces: a drill breaks its own target. Pods without
a controller are not evicted either, for nothing would bring them back.
"""

from __future__ import annotations

from typing import Any, Literal

from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import evictions, fields, nodes
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.nodes import NodeStep, Place
from drillbook.faults.pod_evict import longest_grace
from drillbook.faults.selection import radius
from drillbook.model.experiment import Duration
from drillbook.model.plan import PlannedFault
from drillbook.targets import paths
from drillbook.targets.target import Target


class NodeDrainStep(NodeStep):
    """Cordon one node and evict the target's pods from it."""

    fault: Literal["node-drain"]
    patience: Duration = 30.0
    """How long to ask again, every 5 s, where a disruption budget refuses."""


class NodeDrain:
    """See the module."""

    name = "node-drain"
    summary = "cordon a node and evict the target's pods from it; undone by uncordoning"
    step = NodeDrainStep

    async def plan(self, step: NodeDrainStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        place = await nodes.choose(step, index, target, draw)
        must_be_replaced(place)
        undo = fields.undo(place.ref, place.obj, {nodes.UNSCHEDULABLE: True})
        if not undo.fields:
            raise PreflightError(f"step {index} (node-drain): {place.ref} is cordoned already")
        refs = tuple(map(paths.pod_ref, place.pods))
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"drain {place.ref}: evict {len(refs)} pods of {target.namespace}",
            targets=(*refs, place.ref),
            calls=(fields.call(undo, place.obj, "cordon"), *evictions.calls(refs)),
            undo=(undo,),
            undo_summary=f"uncordon {place.ref}; the pods' controllers replace them meanwhile",
            radius=await radius(place.pods, step.role, await target.pods(step.role), target),
            permissions=(*fields.permissions(place.ref), *evictions.permissions(target)),
            options={"patience": step.patience, "grace": longest_grace(place.pods)},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        *pods, node = planned.targets
        now = await fields.current(node, target)
        undo = fields.undo(node, now, {nodes.UNSCHEDULABLE: True})
        if not undo.fields:
            raise RefusedError(f"{node} was cordoned already before the fault")
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        patience: Any = planned.options["patience"]
        outcome = await evictions.ask(tuple(pods), target, patience)
        return Injected(f"{node} cordoned{doubt}; {outcome}", undo=(undo,), seen={"outcome": outcome})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        grace: Any = planned.options["grace"]
        return await evictions.ended(injected.seen["outcome"], target, seconds + grace)


def must_be_replaced(place: Place) -> None:
    """See that something brings each pod back.

    :raises UnsupportedError: a pod has no controller.
    :raises PreflightError: there is no pod to drive away.
    """
    if not place.pods:
        raise PreflightError(f"no pod of the target runs on {place.ref}", hint="choose another node, or leave it out")
    lone = [pod["metadata"]["name"] for pod in place.pods if not pod["metadata"].get("ownerReferences")]
    if lone:
        raise UnsupportedError(
            f"nothing would replace {', '.join(lone)} on {place.ref}: no controller owns it",
            hint="move it away, or choose another node",
        )


FAULT: Fault = NodeDrain()
