"""The driver of link faults that leaves the work to Chaos Mesh, where the cluster has it: a ``NetworkChaos`` object.

Its units are its own: ``bps`` are bytes a second, and ``rate``, ``limit`` and ``buffer`` are all required. It matches
pods and has no ports, so HTTP between the two pods is hit as well. Its ``duration`` ends it, should nobody else.
Source: https://chaos-mesh.org/docs/simulate-network-chaos-on-kubernetes/
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from drillbook.errors import UnsupportedError
from drillbook.faults import proof
from drillbook.faults.fault import Bite, Record
from drillbook.faults.link_group import Links
from drillbook.helper.shaping import LEAST_BURST, LEAST_QUEUE, QUEUE_SECONDS, Setting
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import DeleteObject, ObjectRef
from drillbook.targets import paths
from drillbook.targets.kube import Json
from drillbook.targets.target import Target

NAME = "chaos-mesh"
VERSION, KIND, PLURAL = "chaos-mesh.org/v1alpha1", "NetworkChaos", "networkchaos"


async def is_served(target: Target) -> bool:
    """Whether the cluster knows ``NetworkChaos``."""
    found = await target.kube.find(f"/apis/{VERSION}")
    return any(each.get("name") == PLURAL for each in (found or {}).get("resources", []))


def manifest(target: Target, run_id: str, links: Links, setting: Setting, seconds: float) -> Json:
    """The object that does it. Both directions of all pairs are all pods towards all of them.

    :raises UnsupportedError: a setting that Chaos Mesh has not.
    """
    senders = sorted({sender for sender, _ in links.edges})
    receivers = sorted({receiver for _, receiver in links.edges})
    spec: Json = {
        "mode": "all",
        "selector": _these(links, senders),
        "direction": "to",
        "target": {"mode": "all", "selector": _these(links, receivers)},
        "duration": f"{round(seconds)}s",
        **action(setting),
    }
    name = hashlib.blake2b(json.dumps([run_id, spec], sort_keys=True).encode(), digest_size=5).hexdigest()
    return {
        "apiVersion": VERSION,
        "kind": KIND,
        "metadata": {
            "name": f"drillbook-link-{name}",
            "namespace": target.namespace,
            "labels": {"app.kubernetes.io/managed-by": "drillbook"},
        },
        "spec": spec,
    }


def action(setting: Setting) -> Json:
    """The part of the spec that says what is done."""
    match setting.kind:
        case "throttle":
            rate = setting.rate / 8
            return {
                "action": "bandwidth",
                "bandwidth": {
                    "rate": f"{round(rate)}bps",
                    "limit": max(LEAST_QUEUE, round(rate * QUEUE_SECONDS)),
                    "buffer": max(LEAST_BURST, round(rate / 100)),
                },
            }
        case "cut":
            return {"action": "partition"}
        case "loss":
            return {"action": "loss", "loss": {"loss": f"{setting.share * 100:g}", "correlation": "0"}}
        case "delay":
            jitter = f"{setting.jitter * 1000:g}ms"
            delay = {"latency": f"{setting.delay * 1000:g}ms", "jitter": jitter, "correlation": "0"}
            return {"action": "delay", "delay": delay}
        case _:
            raise UnsupportedError(f"Chaos Mesh has nothing that leaves a link {setting}")


def call(wanted: Json) -> Call:
    path = paths.collection(VERSION, PLURAL, wanted["metadata"]["namespace"])
    return Call(verb="POST", path=path, body=json.dumps(wanted), why="create the NetworkChaos object")


def undo(wanted: Json) -> DeleteObject:
    meta = wanted["metadata"]
    ref = ObjectRef(
        api_version=VERSION, kind=KIND, plural=PLURAL, namespace=meta["namespace"], name=meta["name"], uid=""
    )
    return DeleteObject(object=ref)


def permissions(wanted: Json) -> tuple[Permission, ...]:
    namespace = wanted["metadata"]["namespace"]
    group = VERSION.partition("/")[0]
    return tuple(
        Permission(verb=verb, group=group, resource=PLURAL, namespace=namespace) for verb in ("get", "create", "delete")
    )


async def inject(planned: PlannedFault, target: Target, record: Record) -> str:
    """Create the object."""
    objects: Any = planned.options["objects"]
    await record(planned.undo)
    for wanted in objects:
        await target.kube.create(paths.collection(VERSION, PLURAL, wanted["metadata"]["namespace"]), wanted)
    return f"NetworkChaos {objects[0]['metadata']['name']} created"


async def verify(planned: PlannedFault, target: Target, seconds: float) -> Bite:
    """Chaos Mesh's own word for it; the step's ``bites:``, which this driver asks for, is the proof from outside."""
    objects: Any = planned.options["objects"]

    async def look() -> Bite:
        undone = []
        for wanted in objects:
            meta = wanted["metadata"]
            path = paths.collection(VERSION, PLURAL, meta["namespace"])
            found = await target.kube.get(f"{path}/{meta['name']}")
            states = {row["type"]: row["status"] for row in found.get("status", {}).get("conditions") or []}
            if states.get("AllInjected") != "True":
                undone.append(f"{meta['name']}: {states or 'no condition yet'}")
        return Bite(not undone, "; ".join(undone) or "Chaos Mesh says AllInjected; the link itself is not measured")

    return await proof.until(look, seconds)


def _these(links: Links, places: Iterable[int]) -> Json:
    pods = [links.pods[place]["metadata"] for place in places]
    return {"pods": {pods[0]["namespace"]: [meta["name"] for meta in pods]}}
