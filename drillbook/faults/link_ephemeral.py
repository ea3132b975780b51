"""The driver of link faults that holds the rules in ephemeral containers of the pods themselves, with ``NET_ADMIN``.

For clusters that allow no privileged helper pod. An ephemeral container shares its pod's network, and cannot be taken
away again: it ends, and stays in the pod's list until the pod goes.
Source: https://kubernetes.io/docs/concepts/workloads/pods/ephemeral-containers/
"""

from __future__ import annotations

import asyncio
import copy
import json
from typing import Any

from drillbook import clock
from drillbook.errors import RefusedError, UnsupportedError
from drillbook.faults import link_helper
from drillbook.faults.fault import Record
from drillbook.faults.link_group import Links
from drillbook.model.plan import Call, Permission, PlannedFault
from drillbook.model.undo import ClearLink, ObjectRef, UndoOperation
from drillbook.targets import containers, paths
from drillbook.targets.answers import ApiError
from drillbook.targets.kube import Json, Objects
from drillbook.targets.target import Target

NAME = "ephemeral"
_POWERS = {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}, "runAsUser": 0}


def specs(
    target: Target, run_id: str, links: Links, steps: link_helper.Steps, seconds: float
) -> list[tuple[Json, Json]]:
    """Each pod that a rule is set in, and the ephemeral container that sets it."""
    found = []
    for pod, manifest in link_helper.manifests(target, run_id, links, steps, seconds):
        helper = manifest["spec"]["containers"][0]
        *words, told = helper["args"]
        arguments = json.dumps(json.loads(told) | {"pod": ""})  # it is in the pod's network already
        name = manifest["metadata"]["name"]
        found.append((pod, {**helper, "name": name, "args": [*words, arguments], "securityContext": _POWERS}))
    return found


async def check(target: Target, pod: Json, spec: Json) -> None:
    """Whether the target would take it; nothing is added (a server-side dry run).

    :raises UnsupportedError: the API server says no: admission, Pod Security, an old version.
    """
    try:
        await containers.add(target.kube, paths.pod_ref(pod), spec, dry=True)
    except ApiError as error:
        raise UnsupportedError(
            f"an ephemeral container with NET_ADMIN is not allowed in {pod['metadata']['name']}: {error.message}",
            hint="the Pod Security levels baseline and restricted forbid it",
        ) from error


def call(pod: Json, spec: Json) -> Call:
    body = json.dumps({"spec": {"ephemeralContainers": [spec]}})
    path = f"{paths.of(paths.pod_ref(pod))}/ephemeralcontainers"
    return Call(verb="PATCH", path=path, body=body, why=f"add the ephemeral container {spec['name']}")


def undo(held: list[tuple[Json, Json]]) -> tuple[UndoOperation, ...]:
    """Each container is ended, which clears; another one looks, where one was killed before it could."""
    looks = []
    for pod, spec in held:
        look = copy.deepcopy(spec)
        look["args"] = ["--clear", *(word for word in spec["args"][2:])]
        look["name"] = spec["name"].replace("-link-", "-clear-")
        looks.append(ClearLink(pod=paths.pod_ref(pod), helper=look, container=spec["name"]))
    return tuple(looks)


def permissions(namespace: str) -> tuple[Permission, ...]:
    needs = (("patch", "ephemeralcontainers"), ("get", "log"), ("get", "exec"), ("create", "exec"))
    return (
        Permission(verb="get", group="", resource="pods", namespace=namespace),
        *(
            Permission(verb=verb, group="", resource="pods", subresource=part, namespace=namespace)
            for verb, part in needs
        ),
    )


async def inject(planned: PlannedFault, target: Target, record: Record) -> Objects:
    """Add the containers, one after another, and wait until each has set its rule; answers what they told.

    :raises RefusedError: a pod was replaced, or a container does not work.
    :raises UnsupportedError: one says that it cannot be done there.
    """
    objects: Any = planned.options["objects"]
    await link_helper.still_there(planned, target)
    await record(planned.undo)
    found: Objects = []
    for operation, spec in zip(planned.undo, objects, strict=True):
        assert isinstance(operation, ClearLink)
        await containers.add(target.kube, operation.pod, spec)
        found.append(await _did(target, operation.pod, spec["name"]))
    return found


async def told(planned: PlannedFault, target: Target) -> Objects:
    """All that the containers have told so far."""
    found: Objects = []
    for operation in planned.undo:
        assert isinstance(operation, ClearLink)
        found += await containers.lines(target.kube, operation.pod, operation.container)
    return found


async def _did(target: Target, pod: ObjectRef, name: str) -> Json:
    until = clock.monotonic() + link_helper.START_SECONDS
    while True:
        for line in await containers.lines(target.kube, pod, name):
            if "error" in line:
                kind = UnsupportedError if line.get("unsupported") else RefusedError
                raise kind(f"{name} in {pod.name}: {line['error']}", str(line.get("hint", "")))
            if "did" in line:
                did: Json = line["did"]
                return did
        if clock.monotonic() > until:
            state = await containers.state(target.kube, pod, name)
            raise RefusedError(
                f"the ephemeral container {name} in {pod.name} has not set its rule: {state or 'it did not start'}",
                hint="it needs an image with drillbook, ip, tc and nft: target: {helper: {image: …}}",
            )
        await asyncio.sleep(link_helper.LOOK_SECONDS)
