"""node-cordon: no new pod is placed on a node; those that are there stay. The undo uncordons."""

from __future__ import annotations

from typing import Literal

from drillbook.errors import PreflightError, RefusedError
from drillbook.faults import fields, nodes, proof
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.nodes import NodeStep
from drillbook.model.plan import PlannedFault
from drillbook.targets import paths
from drillbook.targets.target import Target


class NodeCordonStep(NodeStep):
    """Mark one node unschedulable."""

    fault: Literal["node-cordon"]


class NodeCordon:
    """See the module."""

    name = "node-cordon"
    summary = "mark a node unschedulable; undone by uncordoning"
    step = NodeCordonStep

    async def plan(self, step: NodeCordonStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        place = await nodes.choose(step, index, target, draw)
        undo = fields.undo(place.ref, place.obj, {nodes.UNSCHEDULABLE: True})
        if not undo.fields:
            raise PreflightError(f"step {index} (node-cordon): {place.ref} is cordoned already")
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"cordon {place.ref}; its {len(place.pods)} pods of {target.namespace} stay",
            targets=(place.ref,),
            calls=(fields.call(undo, place.obj, "cordon"),),
            undo=(undo,),
            undo_summary=f"uncordon {place.ref}",
            radius=nodes.UNTOUCHED,
            permissions=fields.permissions(place.ref),
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        (ref,) = planned.targets
        now = await fields.current(ref, target)
        undo = fields.undo(ref, now, {nodes.UNSCHEDULABLE: True})
        if not undo.fields:
            raise RefusedError(f"{ref} was cordoned already before the fault")
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"{ref} cordoned{doubt}", undo=(undo,))

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        (ref,) = planned.targets

        async def look() -> Bite:
            cordoned = (await target.kube.get(paths.of(ref)))["spec"].get("unschedulable") is True
            return Bite(cordoned, f"{ref} is {'' if cordoned else 'not '}unschedulable")

        return await proof.until(look, seconds)


FAULT: Fault = NodeCordon()
