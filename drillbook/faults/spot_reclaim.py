"""spot-reclaim: a node is announced to go, and goes. First the notice, then the end of all that is still there.

The notice is a taint (NoSchedule), as termination handlers set it, and the evictions that they start; clouds give 30 s
(Google, Azure) or 120 s (AWS). At its end the pods that are left are deleted by force, as a machine that is switched
off ends them. The node itself cannot be switched off through the API: in the sandbox its kubelet falls silent, so that
it becomes NotReady; on a cluster it stays Ready, tainted. The undo takes the taint away and lets the kubelet speak.
"""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from drillbook import clock
from drillbook.faults import evictions, fields, nodes
from drillbook.faults.evictions import Evicted
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike
from drillbook.faults.kubelet_gone import silence
from drillbook.faults.node_drain import must_be_replaced
from drillbook.faults.nodes import NodeStep
from drillbook.faults.selection import radius
from drillbook.model.experiment import Duration
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import ObjectRef, UndoOperation
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError, NotFoundError
from drillbook.targets.target import Target

TAINT = {"key": "drillbook.io/spot-reclaim", "effect": "NoSchedule"}


class SpotReclaimStep(NodeStep):
    """Take one node away, after a notice."""

    fault: Literal["spot-reclaim"]
    notice: Duration = 30.0
    """From the notice to the end of the node."""
    handled: bool = True
    """Whether pods are evicted at the notice, as a termination handler does; false where the target brings its own,
    or to see what happens without one."""


class SpotReclaim:
    """See the module."""

    name = "spot-reclaim"
    summary = "announce that a node goes, evict, then end what is left on it; undone by giving the node back"
    step = SpotReclaimStep

    async def plan(self, step: SpotReclaimStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        place = await nodes.choose(step, index, target, draw)
        must_be_replaced(place)
        refs = tuple(map(paths.pod_ref, place.pods))
        end = (
            "and its kubelet falls silent"
            if target.simulated
            else "(the node itself stays Ready: switch it off by hand)"
        )
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"reclaim {place.ref} with a notice of {step.notice:.0f} s: {len(refs)} pods of {target.namespace} "
            f"must go {end}",
            targets=(*refs, place.ref),
            calls=(
                nodes.taint_call(place.ref, TAINT),
                *(evictions.calls(refs) if step.handled else ()),
                *(
                    Call(verb="DELETE", path=paths.of(ref), body='{"gracePeriodSeconds": 0}', why="if left")
                    for ref in refs
                ),
            ),
            undo=(nodes.untaint(place.ref, TAINT),),
            undo_summary=f"{place.ref} comes back: the taint is removed",
            radius=await radius(place.pods, step.role, await target.pods(step.role), target),
            permissions=(
                *fields.permissions(place.ref),
                *evictions.permissions(target),
                Permission(verb="delete", group="", resource="pods", namespace=target.namespace),
            ),
            options={"notice": step.notice, "handled": step.handled},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        *pods, node = planned.targets
        now = await fields.current(node, target)
        undo: tuple[UndoOperation, ...] = (nodes.untaint(node, TAINT),)
        quiet = silence(node, now) if target.simulated else None
        undo += (quiet,) if quiet else ()
        await record(undo)
        notice: Any = planned.options["notice"]
        until = clock.monotonic() + notice
        doubt = await strike([nodes.put_taint(node, TAINT, target)])
        outcome = Evicted()
        if planned.options["handled"]:
            outcome = await evictions.ask(tuple(pods), target, notice)
        await asyncio.sleep(max(0.0, until - clock.monotonic()))
        left = [ref for ref in pods if not await evictions.gone(ref, target)]
        doubt += await strike(_end(ref, target) for ref in left)
        doubt += await fields.write(quiet, now, target) if quiet else ""
        told = f"{len(left)} pods were still there at its end" if left else "no pod was left at its end"
        return Injected(f"{node} reclaimed; {outcome}; {told}{doubt}", undo=undo, seen={"left": len(left)})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        *pods, _ = planned.targets
        gone = await evictions.ended(Evicted(going=pods), target, seconds)
        left = injected.seen["left"]
        return Bite(gone.bit, f"{len(pods)} pods left, {left} of them by force" if gone.bit else gone.detail)


async def _end(ref: ObjectRef, target: Target) -> None:
    try:
        await target.kube.delete(paths.of(ref), uid=ref.uid, grace=0)
    except (NotFoundError, ConflictError):
        return  # it went by itself just now


FAULT: Fault = SpotReclaim()
