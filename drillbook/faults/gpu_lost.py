"""gpu-lost: one GPU falls off the bus, seen from all sides that the API reaches.

A lost GPU shows in three places that know nothing of one another, so one alone would be half the truth: the workload's
engine dies (SIGKILL, as a CUDA error ends it); the node advertises one device less, and running pods are left alone (as
the device plugin has it); and DCGM tells an Xid (``dcgmi test --inject``, where a DCGM pod runs on the node). That is
telemetry only, and its value expires by itself. A real kubelet corrects the node's figure within seconds to minutes.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
from pydantic import Field

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.faults import fields, proof, victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record
from drillbook.faults.process_kill import lives
from drillbook.faults.victims import ProcessStep
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import ObjectRef, RestoreFields
from drillbook.targets import accelerators, paths
from drillbook.targets.kube import Json
from drillbook.targets.target import Target
from drillbook.undo.operations import value_at

XID_FIELD = 230
"""DCGM_FI_DEV_XID_ERRORS."""
DCGM = "app in (nvidia-dcgm, nvidia-dcgm-exporter)"
"""The GPU operator's labels of the pods that have ``dcgmi``."""


class GpuLostStep(ProcessStep):
    """Lose one GPU of one pod."""

    held: ClassVar[bool] = True
    fault: Literal["gpu-lost"]
    count: Literal[1] = 1
    xid: int = Field(default=79, ge=1, le=1000)
    """The Xid that DCGM tells: 79 is *fallen off the bus*."""
    gpu: int = Field(default=0, ge=0, le=63)
    """DCGM's number of the GPU on its node."""


class GpuLost:
    """See the module."""

    name = "gpu-lost"
    summary = "lose a GPU: the engine dies, the node has one less, DCGM tells an Xid; the node's figure is undone"
    step = GpuLostStep

    async def plan(self, step: GpuLostStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        undo_summary = "the node's allocatable GPUs as before; the kubelet restarts the container; the Xid expires"
        planned = await victims.plan(step, index, target, draw, signal="KILL", undo_summary=undo_summary)
        (ref,) = planned.targets
        pod = await target.kube.get(paths.of(ref))
        resource = accelerators.resource(pod)
        if not resource:
            raise UnsupportedError(f"pod {ref.name} holds no GPU", hint="gpu-lost needs a pod with a GPU in its limits")
        name = str(pod["spec"]["nodeName"])
        node = await target.kube.get(f"/api/v1/nodes/{name}")
        node_ref = paths.ref(node, "nodes", api_version="v1", kind="Node")
        undo = _undo(node_ref, node, resource)
        dcgm = await _dcgm(name, target)
        told = f"Xid {step.xid} through {dcgm.name}" if dcgm else "no Xid (no DCGM pod there)"
        inject = () if dcgm is None else (_call(dcgm, step),)
        exec_there = () if dcgm is None else (
            Permission(verb="create", group="", resource="pods", subresource="exec", namespace=dcgm.namespace),
        )  # fmt: skip
        return msgspec.structs.replace(
            planned,
            summary=f"lose a GPU of {ref.name} on {name}: {step.process} dies, one {resource} less, {told}",
            targets=(ref, node_ref),
            calls=(fields.call(undo, node, "one device less"), *inject, *planned.calls),
            undo=(undo,),
            permissions=(
                *planned.permissions,
                *fields.permissions(node_ref, "get"),
                *fields.permissions(node_ref, "patch", subresource="status"),
                Permission(verb="list", group="", resource="pods", namespace="*"),
                *exec_there,
            ),
            options={"process": step.process, "resource": resource, "xid": step.xid, "gpu": step.gpu},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        ref, node_ref = planned.targets
        found = await victims.find(msgspec.structs.replace(planned, targets=(ref,)), target)
        node = await fields.current(node_ref, target)
        try:
            undo = _undo(node_ref, node, str(planned.options["resource"]))
        except UnsupportedError as error:
            raise RefusedError(error.message, error.hint) from error
        await record((undo,))
        doubt = await fields.write(undo, node, target)
        dcgm = await _dcgm(node_ref.name, target)
        said = await _tell(dcgm, planned, target) if dcgm else "no DCGM pod on the node: no Xid"
        killed = await victims.strike(found, "KILL", target)
        detail = (
            f"{undo.fields[0].wrote} {planned.options['resource']} left on {node_ref.name}; {said}; {killed}{doubt}"
        )
        return Injected(detail, undo=(undo,), seen={"victims": found, "said": said})

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        ref, node_ref = planned.targets
        (undo,) = injected.undo
        assert isinstance(undo, RestoreFields)
        field, seen = undo.fields[0], {"fewer": False}

        async def look() -> Bite:
            node = await target.kube.get(paths.of(node_ref))
            seen["fewer"] = seen["fewer"] or value_at(node, field.path) == (True, field.wrote)
            dead = not any([await lives(victim, target) for victim in injected.seen["victims"]])
            devices = f"{node_ref} {'has' if seen['fewer'] else 'has not'} one {field.path[-1]} less"
            process = f"{planned.options['process']} of {ref.name} {'ended' if dead else 'lives'}"
            return Bite(seen["fewer"] and dead, f"{process}; {devices}; {injected.seen['said']}")

        return await proof.until(look, seconds)


def _undo(ref: ObjectRef, node: Json, resource: str) -> RestoreFields:
    path = ("status", "allocatable", resource)
    has, amount = value_at(node, path)
    if not has or int(amount) < 1:
        raise UnsupportedError(f"{ref} advertises no {resource} (any more)")
    return fields.undo(ref, node, {path: str(int(amount) - 1)}, subresource="status")


async def _dcgm(node: str, target: Target) -> ObjectRef | None:
    for pod in await target.kube.list("/api/v1/pods", labels=DCGM, fields=f"spec.nodeName={node}"):
        if pod.get("status", {}).get("phase") == "Running":
            return paths.pod_ref(pod)
    return None


def _argv(options: dict[str, Any]) -> tuple[str, ...]:
    given = ("--gpuid", str(options["gpu"]), "-f", str(XID_FIELD), "-v", str(options["xid"]))
    return ("dcgmi", "test", "--inject", *given)


def _call(dcgm: ObjectRef, step: GpuLostStep) -> Call:
    words = " ".join(_argv({"gpu": step.gpu, "xid": step.xid}))
    return Call(verb="POST", path=f"{paths.of(dcgm)}/exec", body=words, why="telemetry tells an Xid")


async def _tell(dcgm: ObjectRef, planned: PlannedFault, target: Target) -> str:
    """What DCGM made of it. It is no reason to stop: the other sides are hit all the same."""
    pod = await target.kube.get(paths.of(dcgm))
    container = str(pod["spec"]["containers"][0]["name"])
    result = await target.kube.exec(dcgm.namespace, dcgm.name, container, _argv(planned.options))
    if result.exit_code:
        return f"dcgmi in {dcgm.name} refused: {(result.stderr or result.stdout).strip()[:120]}"
    return f"{dcgm.name} tells Xid {planned.options['xid']}"


FAULT: Fault = GpuLost()
