"""Keeps the logs and the description of victims before they vanish: a deleted pod takes both along.

Asked just before a fault strikes, and again when a pod is seen to end or to have been restarted: what it said last is
often all that tells why. Whoever recreates whole groups (a LeaderWorkerSet) deletes the healthy members' logs too.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from drillbook.errors import DrillbookError
from drillbook.model.events import AnyEvent, EvidenceKept
from drillbook.model.undo import ObjectRef
from drillbook.targets import paths
from drillbook.targets.kube import Kube

FOLDER = "evidence"
TAIL = 2000
"""Lines kept of each container's log."""
SECONDS = 3.0
"""How long a fault waits for the logs of its victims: what is told of them matters less than when it strikes."""

Json = dict[str, Any]


class EvidenceKeeper:
    """Writes below the run folder's ``evidence/<pod>/``; what cannot be had is left out."""

    def __init__(self, kube: Kube, folder: Path, emit: Callable[[AnyEvent], object]) -> None:
        self._kube, self._folder, self._emit = kube, folder / FOLDER, emit
        self._ends: dict[str, tuple[bool, int]] = {}
        self._victims: asyncio.Queue[Json] = asyncio.Queue()
        self._told: set[str] = set()

    def notice(self, pod: Json) -> None:
        """A pod of the deployment as it is now; it is a victim once it ends, or a container was restarted."""
        statuses = pod.get("status", {}).get("containerStatuses") or []
        now = ("deletionTimestamp" in pod["metadata"], sum(int(row.get("restartCount") or 0) for row in statuses))
        before = self._ends.setdefault(pod["metadata"]["uid"], (False, now[1]))
        self._ends[pod["metadata"]["uid"]] = now
        if now != before:
            self._victims.put_nowait(pod)

    async def run(self) -> None:
        """Keep what the watch notices, until cancelled."""
        while True:
            await self.keep(await self._victims.get())

    async def before(self, victims: Iterable[ObjectRef]) -> None:
        """Keep what these pods have to say now; whatever else they are, and whatever fails, is passed over."""
        with contextlib.suppress(DrillbookError, TimeoutError):
            async with asyncio.timeout(SECONDS):
                found = await asyncio.gather(
                    *(self._kube.find(paths.of(ref)) for ref in victims if ref.kind == "Pod"), return_exceptions=True
                )
                await asyncio.gather(*(self.keep(pod) for pod in found if isinstance(pod, dict)))

    async def keep(self, pod: Json) -> None:
        """Write its description and its containers' logs. A log that has gone leaves the one kept before it."""
        meta = pod["metadata"]
        names = [row["name"] for row in pod.get("status", {}).get("containerStatuses") or []]
        restarted = [row["name"] for row in pod.get("status", {}).get("containerStatuses") or [] if row["restartCount"]]
        told = {key: value for key, value in meta.items() if key != "managedFields"}
        await self._write(meta["name"], "pod.json", json.dumps({**pod, "metadata": told}, indent=1))
        logs = [(name, False) for name in names] + [(name, True) for name in restarted]
        texts = await asyncio.gather(
            *(self._kube.logs(meta["namespace"], meta["name"], name, tail=TAIL, previous=old) for name, old in logs),
            return_exceptions=True,
        )
        for (name, old), text in zip(logs, texts, strict=True):
            if isinstance(text, str) and text:
                await self._write(meta["name"], f"{name}{'.previous' if old else ''}.log", text)

    async def _write(self, pod: str, name: str, text: str) -> None:
        path = self._folder / pod / name
        with contextlib.suppress(OSError):  # a full disk ends the run elsewhere, where it matters
            await asyncio.to_thread(_store, path, text)
            place = str(path.relative_to(self._folder.parent))
            if place not in self._told:
                self._told.add(place)
                what = f"description of {pod}" if name == "pod.json" else f"log of {pod}/{name.removesuffix('.log')}"
                self._emit(EvidenceKept(what=what, path=place))


def _store(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
