"""Ephemeral containers of a pod that runs: added, heard, ended."""

from __future__ import annotations

import json
from typing import Any

from drillbook.model.undo import ObjectRef
from drillbook.targets import paths
from drillbook.targets.answers import ApiError
from drillbook.targets.kube import PATCHES, Json, Kube, Objects

_END = (
    "import os, pathlib, signal\n"
    "for entry in pathlib.Path('/proc').iterdir():\n"
    "    if entry.name.isdigit() and int(entry.name) != os.getpid():\n"
    "        try: words = (entry / 'cmdline').read_bytes()\n"
    "        except OSError: continue\n"
    "        if b'drillbook.helper' in words: os.kill(int(entry.name), signal.SIGTERM)\n"
)
"""Process 1 need not be ours: the pod may share one PID namespace among its containers."""


async def add(kube: Kube, pod: ObjectRef, spec: Json, *, dry: bool = False) -> None:
    """Add an ephemeral container; asking twice is harmless. ``dry`` only asks whether it would be taken.

    :raises ApiError: it is not allowed, or the server knows no ephemeral containers.
    """
    params = {"dryRun": "All"} if dry else {}
    body = {"spec": {"ephemeralContainers": [spec]}}
    path = f"{paths.of(pod)}/ephemeralcontainers"
    await kube.json("PATCH", path, params=params, body=body, content=PATCHES["strategic"])


async def state(kube: Kube, pod: ObjectRef, name: str) -> Json:
    """``{"running": …}``, ``{"terminated": …}`` or ``{"waiting": …}``; empty where there is no such container."""
    found = await kube.find(paths.of(pod)) or {}
    rows: list[Any] = found.get("status", {}).get("ephemeralContainerStatuses") or []
    return next((dict(row.get("state") or {}) for row in rows if row["name"] == name), {})


async def lines(kube: Kube, pod: ObjectRef, name: str) -> Objects:
    """The JSON objects that a container has told so far, a whole line each."""
    try:
        log = await kube.logs(pod.namespace, pod.name, name)
    except ApiError:
        return []  # not yet readable, or no longer: the next look tells
    found = []
    for row in log.splitlines(keepends=True):
        try:
            line = json.loads(row) if row.endswith("\n") else None
        except ValueError:
            continue  # somebody else's words: a warning of the interpreter
        if isinstance(line, dict):
            found.append(line)
    return found


async def end(kube: Kube, pod: ObjectRef, name: str) -> None:
    """SIGTERM to the helper in it.

    :raises ApiError: it cannot be reached.
    """
    await kube.exec(pod.namespace, pod.name, name, ("python3", "-c", _END))
