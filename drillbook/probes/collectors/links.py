"""Listens to the helper pods that hold a link: what they set and what they measure becomes part of the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from drillbook.errors import DrillbookError
from drillbook.model.events import AnyEvent, Observed
from drillbook.probes.names import LINK_RATE, LINK_SETTING
from drillbook.targets import helper, paths
from drillbook.targets.target import Target

EVERY = 1.0
"""Seconds between two looks; a helper tells how long ago each thing was, so nothing is lost by it."""
PREFIX = "drillbook-link-"


class LinkListener:
    """Listens until it is cancelled."""

    def __init__(self, target: Target, emit: Callable[[AnyEvent], object]) -> None:
        self._target, self._emit = target, emit
        self._heard: dict[str, int] = {}
        self._namespace = target.spec.helper.namespace or target.namespace

    async def run(self) -> None:
        selector = "app.kubernetes.io/managed-by=drillbook,app.kubernetes.io/component=helper"
        while True:
            try:
                pods = await self._target.kube.list(paths.pods(self._namespace), labels=selector)
                for pod in pods:
                    if pod["metadata"]["name"].startswith(PREFIX):
                        await self._hear(pod["metadata"]["name"])
            except DrillbookError:
                pass  # an API server that is away is told by its own instrument; the helpers' words wait in their logs
            await asyncio.sleep(EVERY)

    async def _hear(self, name: str) -> None:
        log = await self._target.kube.logs(self._namespace, name, helper.CONTAINER)
        lines = log.splitlines(keepends=True)
        heard = self._heard.get(name, 0)
        for row in lines[heard:]:
            if not row.endswith("\n"):
                break
            heard += 1
            self._tell(name, row)
        self._heard[name] = heard

    def _tell(self, name: str, row: str) -> None:
        try:
            line: Any = json.loads(row)
        except ValueError:
            return  # somebody else's words: a warning of the interpreter
        if "measured" in line:
            told = line["measured"]
            labels = {"helper": name, "peer": told["peer"], "step": str(told["step"]), "at": str(told["at"])}
            labels["lost"] = f"{told['lost']:.4f}"
            if told["round_trip"] is not None:
                labels["round-trip"] = f"{told['round_trip']:.6f}"
            error = "" if told["rate"] else "too few answers for a rate"
            self._emit(Observed(probe=LINK_RATE, value=told["rate"], labels=labels, error=error))
        elif "link" in line:
            told = line["link"]
            labels = {"helper": name, "set": told["set"], "at": str(told["at"])}
            self._emit(Observed(probe=LINK_SETTING, value=float(told["step"]), labels=labels))
        elif "failed" in line:
            why = line["failed"]["why"]
            self._emit(Observed(probe=LINK_SETTING, value=None, labels={"helper": name}, error=why))
