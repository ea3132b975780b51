"""kubelet-gone: a node's kubelet falls silent. Its pods go on running; after the grace period the node is NotReady.

Kubernetes waits 40 to 50 s before it says so, and five minutes more before it replaces the pods. The sandbox's agent
takes the order from an annotation of the node. On a cluster nothing in the API stops a kubelet.
"""

from __future__ import annotations

from typing import Literal

from drillbook import clock
from drillbook.errors import PreflightError, RefusedError, UnsupportedError
from drillbook.faults import fields, nodes, proof
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.nodes import NodeStep
from drillbook.faults.selection import radius
from drillbook.model.plan import Permission, PlannedFault
from drillbook.model.undo import ObjectRef, RestoreFields
from drillbook.sandbox.node.lease import RENEW_EVERY
from drillbook.sandbox.node.machine import SILENT
from drillbook.targets import paths
from drillbook.targets.kube import Json
from drillbook.targets.target import Target

SILENCE_SECONDS = 1.5 * RENEW_EVERY
"""A Lease that is not renewed for so long shows that nobody speaks for the node; kubelets renew every 10 s."""


class KubeletGoneStep(NodeStep):
    """Silence the kubelet of one node."""

    fault: Literal["kubelet-gone"]


class KubeletGone:
    """See the module."""

    name = "kubelet-gone"
    summary = "silence a node's kubelet (sandbox only); undone by letting it speak again"
    step = KubeletGoneStep

    async def plan(self, step: KubeletGoneStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        if not target.simulated:
            raise UnsupportedError(
                "nothing in the Kubernetes API stops a kubelet",
                hint="stop it on the node (systemctl stop kubelet), or use node-taint, which ends the pods",
            )
        place = await nodes.choose(step, index, target, draw)
        undo = silence(place.ref, place.obj)
        if not undo.fields:
            raise PreflightError(f"step {index} (kubelet-gone): the kubelet of {place.ref} is silent already")
        hit = await radius(place.pods, step.role, await target.pods(step.role), target)
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"silence the kubelet of {place.ref}: {hit.pods} pods of {target.namespace} are out of its care",
            targets=(*map(paths.pod_ref, place.pods), place.ref),
            calls=(fields.call(undo, place.obj, "silence"),),
            undo=(undo,),
            undo_summary=f"the kubelet of {place.ref} speaks again",
            radius=hit,
            permissions=(
                *fields.permissions(place.ref),
                Permission(verb="get", group="coordination.k8s.io", resource="leases", namespace="kube-node-lease"),
            ),
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        node = planned.targets[-1]
        now = await fields.current(node, target)
        undo = silence(node, now)
        if not undo.fields:
            raise RefusedError(f"the kubelet of {node} was silent already before the fault")
        await record((undo,))
        doubt = await fields.write(undo, now, target)
        return Injected(f"the kubelet of {node} is told to be silent{doubt}", undo=(undo,))

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        node = planned.targets[-1]
        seen, since = "", clock.monotonic()

        async def look() -> Bite:
            nonlocal seen, since
            place = paths.collection("coordination.k8s.io/v1", "leases", "kube-node-lease")
            renewed = str((await target.kube.get(f"{place}/{node.name}"))["spec"].get("renewTime"))
            if renewed != seen:
                seen, since = renewed, clock.monotonic()
            silent = clock.monotonic() - since
            return Bite(silent >= SILENCE_SECONDS, f"the Lease of {node} was not renewed for {silent:.0f} s")

        return await proof.until(look, seconds + 2 * SILENCE_SECONDS)


def silence(node: ObjectRef, now: Json) -> RestoreFields:
    """What lets the sandbox's kubelet speak again."""
    return fields.undo(node, now, {("metadata", "annotations", SILENT): "stopped"})


FAULT: Fault = KubeletGone()
