"""partition: a NetworkPolicy that lets nothing reach some pods, and them nothing: alive, healthy, and alone.

The kubelet's probes still pass (a pod's own node always reaches it), so the pods stay Ready and in rotation. Whether
the policy holds is up to the network plugin; one without NetworkPolicies lets everything pass. So a connection from a
pod that is not cut off is tried before and after.
"""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any, Literal

from drillbook.errors import RefusedError, UnsupportedError
from drillbook.faults import fields, proof, victims
from drillbook.faults.fault import Bite, Draw, Fault, Injected, Record, strike
from drillbook.faults.gangs import runs
from drillbook.faults.selection import select
from drillbook.model.experiment import PodStep
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import DeleteObject, ObjectRef, UndoOperation
from drillbook.targets import paths
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target

LABEL = "drillbook.io/partition"
VERSION = "networking.k8s.io/v1"
CONNECT_SECONDS = 2
_CANNOT = 125
_CONNECT = f"""
if command -v python3 >/dev/null 2>&1; then
  exec python3 -c 'import socket, sys; socket.create_connection(sys.argv[1:3], {CONNECT_SECONDS})' $1 $2
elif command -v bash >/dev/null 2>&1; then
  exec timeout {CONNECT_SECONDS} bash -c 'exec 3<>/dev/tcp/$0/$1' $1 $2
elif command -v nc >/dev/null 2>&1; then
  exec nc -z -w {CONNECT_SECONDS} $1 $2
fi
exit {_CANNOT}
"""


class PartitionStep(PodStep):
    """Cut pods off from all other pods; their node still reaches them."""

    fault: Literal["partition"]


@dataclass(frozen=True)
class Witness:
    """A pod that is not cut off, and a container of it from which to look."""

    pod: str
    container: str


class Partition:
    """See the module."""

    name = "partition"
    summary = "cut pods off by a NetworkPolicy; undone by deleting it"
    step = PartitionStep

    async def plan(self, step: PartitionStep, index: int, target: Target, draw: Draw) -> PlannedFault:
        pods, radius = await select(step, index, target, draw)
        refs = tuple(map(paths.pod_ref, pods))
        port = _port(pods[0], target.container(pods[0], step.role), step.role, target)
        witness = await _witness(pods, step.role, target)
        for pod in pods:
            if not await _reaches(witness, pod, port, target):
                raise UnsupportedError(
                    f"{witness.pod} does not reach {pod['metadata']['name']}:{port} as it is: nothing could be cut",
                    hint="look for NetworkPolicies that are there already: kubectl get networkpolicies",
                )
        name = f"drillbook-partition-{uuid.uuid4().hex[:8]}"
        policy = _policy(name, target.namespace)
        place = paths.collection(VERSION, "networkpolicies", target.namespace)
        labels = [
            fields.undo(ref, pod, {("metadata", "labels", LABEL): name}) for ref, pod in zip(refs, pods, strict=True)
        ]
        return PlannedFault(
            id=f"{index}-{self.name}",
            fault=self.name,
            at=step.at,
            hold=step.for_,
            summary=f"cut {len(refs)} of {radius.role_total} {step.role} pods off from all others",
            targets=refs,
            calls=(
                Call(verb="POST", path=place, body=str(policy), why="a policy that allows nothing"),
                *(fields.call(label, pod, "the policy's label") for label, pod in zip(labels, pods, strict=True)),
            ),
            undo=(DeleteObject(object=_ref(name, target.namespace)), *labels),
            undo_summary=f"remove the label {LABEL} and the NetworkPolicy {name}",
            radius=radius,
            permissions=(
                *(
                    Permission(
                        verb=verb, group="networking.k8s.io", resource="networkpolicies", namespace=target.namespace
                    )
                    for verb in ("get", "create", "delete")
                ),
                Permission(verb="patch", group="", resource="pods", namespace=target.namespace),
                *victims.permissions(target),
            ),
            options={"policy": name, "port": port, "witness": [witness.pod, witness.container]},
        )

    async def inject(self, planned: PlannedFault, target: Target, record: Record) -> Injected:
        name: Any = planned.options["policy"]
        labels, pods = [], []
        for ref in planned.targets:
            pod = await fields.current(ref, target)
            pods.append(pod)
            if not runs(pod):
                raise RefusedError(f"pod {ref.name} was already ending before the fault")
            labels.append(fields.undo(ref, pod, {("metadata", "labels", LABEL): name}))
        undo: tuple[UndoOperation, ...] = (DeleteObject(object=_ref(name, target.namespace)), *labels)
        await record(undo)
        place = paths.collection(VERSION, "networkpolicies", target.namespace)
        doubt = await strike([target.kube.create(place, _policy(name, target.namespace))])
        for label, pod in zip(labels, pods, strict=True):
            doubt += await fields.write(label, pod, target)
        return Injected(f"NetworkPolicy {name} selects {len(labels)} pods{doubt}", undo=undo)

    async def verify(self, planned: PlannedFault, injected: Injected, target: Target, seconds: float) -> Bite:
        given: Any = planned.options["witness"]
        witness, port = Witness(*given), int(str(planned.options["port"]))

        async def look() -> Bite:
            pods = [pod for ref in planned.targets if (pod := await target.kube.find(paths.of(ref)))]
            reached = await asyncio.gather(*(_reaches(witness, pod, port, target) for pod in pods))
            names = ", ".join(ref.name for ref in planned.targets)
            if not any(reached):
                return Bite(True, f"{witness.pod} does not reach {names} any more (port {port})")
            return Bite(
                False,
                f"{witness.pod} still reaches {sum(reached)} of {len(pods)} pods at port {port}: does the network "
                "plugin enforce NetworkPolicies?",
            )

        return await proof.until(look, seconds)


def _ref(name: str, namespace: str) -> ObjectRef:
    """The policy by its name, which is made for this run: its uid is not known before it is there."""
    return ObjectRef(
        api_version=VERSION,
        kind="NetworkPolicy",
        plural="networkpolicies",
        namespace=namespace,
        name=name,
        uid="",
    )


def _policy(name: str, namespace: str) -> Json:
    return {
        "apiVersion": VERSION,
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/managed-by": "drillbook"}},
        "spec": {"podSelector": {"matchLabels": {LABEL: name}}, "policyTypes": ["Ingress", "Egress"]},
    }


def _port(pod: Json, container: str, role: str, target: Target) -> int:
    """The first port that the role's container declares, else the stack's usual one."""
    for each in pod["spec"]["containers"]:
        if each["name"] == container and each.get("ports"):
            return int(each["ports"][0]["containerPort"])
    return target.stack.roles[role].port if role in target.stack.roles else 8000


async def _witness(cut: Objects, role: str, target: Target) -> Witness:
    """A running pod that is not cut off: of another role where there is one.

    :raises UnsupportedError: there is none in which a connection can be tried.
    """
    away = {pod["metadata"]["uid"] for pod in cut}
    others = [pod for pod in await target.everything() if runs(pod) and pod["metadata"]["uid"] not in away]
    others.sort(key=lambda pod: (target.role_of(pod) in ("", role), target.role_of(pod) == "", pod["metadata"]["name"]))
    for pod in others[:5]:
        container = str(pod["spec"]["containers"][0]["name"])
        witness = Witness(str(pod["metadata"]["name"]), container)
        result = await target.kube.exec(target.namespace, witness.pod, container, ("sh", "-c", _CONNECT, "sh", "", "0"))
        if result.exit_code not in (_CANNOT, 126, 127):
            return witness
    raise UnsupportedError(
        "no other pod of the namespace can try a connection, so that the cut could not be proven",
        hint="a running pod with sh and one of python3, bash, nc is needed beside those that are cut off",
    )


async def _reaches(witness: Witness, pod: Json, port: int, target: Target) -> bool:
    address = str(pod.get("status", {}).get("podIP", ""))
    argv = ("sh", "-c", _CONNECT, "sh", address, str(port))
    return (await target.kube.exec(target.namespace, witness.pod, witness.container, argv)).exit_code == 0


FAULT: Fault = Partition()
