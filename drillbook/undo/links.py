"""Clearing a pod's link: a helper pod on its node looks for rules of ours there, and takes away what it finds.

Its manifest is part of the operation, so that any machine can do it. The helper that holds a rule clears it by itself,
at its end or its deadline; this is for the one that was killed, and the proof that nothing is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import secrets
from typing import Any

from drillbook import clock
from drillbook.errors import RefusedError
from drillbook.helper.shaping import show_rate
from drillbook.model.undo import ClearLink, ObjectRef
from drillbook.targets import containers, paths
from drillbook.targets.answers import NotFoundError
from drillbook.targets.kube import Kube

START_SECONDS = 15.0
"""How long a helper may take until it tells what it found; an image that is on the node starts in one."""
LOOK_SECONDS = 0.1

Json = dict[str, Any]


async def clear(kube: Kube, operation: ClearLink) -> str | None:
    """Clear the link of the operation's pod, and say what was there; None where the pod itself is gone.

    :raises RefusedError: it cannot be seen to be clean.
    :raises DrillbookError: the API server refuses, or is away.
    """
    found = await kube.find(paths.of(operation.pod))
    if found is None or found["metadata"]["uid"] != operation.pod.uid:
        return None
    if operation.container:
        return await _clear_inside(kube, operation)
    manifest = copy.deepcopy(operation.helper)
    # Two who undo at the same time each have a helper of their own; to clear twice is harmless.
    manifest["metadata"]["name"] = f"{manifest['metadata']['name'][:50]}-{secrets.token_hex(3)}"
    pods = paths.pods(manifest["metadata"]["namespace"])
    path = f"{pods}/{manifest['metadata']['name']}"
    try:
        await kube.create(pods, manifest)
        return await _told(kube, path, manifest)
    finally:
        with contextlib.suppress(NotFoundError):
            await kube.delete(path, grace=0)


async def _clear_inside(kube: Kube, operation: ClearLink) -> str:
    """End the ephemeral container, which clears; where it was killed before it could, another one does."""
    if not await containers.state(kube, operation.pod, operation.container):
        return "no ephemeral container of ours was added"
    name = operation.container
    if "running" in await containers.state(kube, operation.pod, name):
        await containers.end(kube, operation.pod, name)
        await _ended(kube, operation.pod, name)
    cleared = await _cleared(kube, operation.pod, name)
    if cleared is None:
        name = f"{operation.helper['name'][:50]}-{secrets.token_hex(3)}"
        await containers.add(kube, operation.pod, operation.helper | {"name": name})
        await _ended(kube, operation.pod, name)
        cleared = await _cleared(kube, operation.pod, name)
    if cleared is None:
        raise RefusedError(f"the ephemeral container {name} in {operation.pod.name} has not cleared the link")
    return _words(cleared)


async def _ended(kube: Kube, pod: ObjectRef, name: str) -> None:
    until = clock.monotonic() + START_SECONDS
    while "terminated" not in await containers.state(kube, pod, name):
        if clock.monotonic() > until:
            raise RefusedError(f"the ephemeral container {name} in {pod.name} does not end")
        await asyncio.sleep(LOOK_SECONDS)


async def _cleared(kube: Kube, pod: ObjectRef, name: str) -> Json | None:
    lines = await containers.lines(kube, pod, name)
    return next((line["cleared"] for line in lines if "cleared" in line), None)


async def _told(kube: Kube, path: str, manifest: Json) -> str | None:
    until = clock.monotonic() + START_SECONDS
    while True:
        pod = await kube.find(path)
        if pod is None:
            raise RefusedError("the helper that looks at the link was deleted by someone")
        for line in await containers.lines(kube, paths.pod_ref(pod), manifest["spec"]["containers"][0]["name"]):
            if "cleared" in line:
                if "gone" in line["cleared"]:
                    return None
                return _words(line["cleared"])
            if "error" in line:
                raise RefusedError(f"the helper on {pod['spec'].get('nodeName')} says: {line['error']}")
        if clock.monotonic() > until or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
            phase = pod.get("status", {}).get("phase")
            raise RefusedError(f"the helper on {pod['spec'].get('nodeName')} told nothing of the link (phase {phase})")
        await asyncio.sleep(LOOK_SECONDS)


def _words(cleared: Json) -> str:
    removed = cleared.get("removed") or []
    words = f"taken away: {', '.join(removed)}" if removed else "nothing of ours is left"
    for train in cleared.get("after") or []:
        rate = show_rate(train["rate"]) if train["rate"] else f"{train['answered']} of {train['sent']} echoes"
        words += f", {train['peer']} answers at {rate}"
    return words
