"""Faults on the links of a group in the sandbox: planned, undone, and what is left of them, counted."""

from __future__ import annotations

import asyncio
import json
import os
import time
import urllib.request
from pathlib import Path
from typing import Any

from drillbook.faults.fault import Draw
from drillbook.faults.registry import FAULTS
from drillbook.model.plan import PlannedFault
from drillbook.model.undo import EntryState
from drillbook.model.units import Dimension
from drillbook.sandbox import stack
from drillbook.targets import paths
from drillbook.targets.target import Target
from drillbook.undo.operations import carry_out


class Recorded(list):
    async def __call__(self, operations) -> None:
        self += operations


def is_ready(pod: dict[str, Any]) -> bool:
    return any(row["type"] == "Ready" and row["status"] == "True" for row in pod["status"].get("conditions", []))


async def planned(name: str, target: Target, **options: Any) -> PlannedFault:
    told = {"fault": name, **{key.replace("_", "-"): value for key, value in options.items()}}
    step = FAULTS[name].step.model_validate(told, context={"probes": {"goodput": Dimension.SHARE}})
    return await FAULTS[name].plan(step, 0, target, Draw(1, f"test-{os.getpid()}-{time.monotonic_ns()}"))


async def undone(target: Target, record: list) -> list[EntryState]:
    return [(await carry_out(target.kube, each, seconds=60)).state for each in reversed(record)]


async def left(target: Target) -> dict[str, list[str]]:
    """Counted by the kernel and the API, not by drillbook: our qdiscs, filters and tables, and helper pods."""
    found: dict[str, list[str]] = {"qdiscs": [], "filters": [], "tables": [], "pods": []}
    for pod in await target.pods("engine"):
        name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
        for what, argv in {
            "qdiscs": ("tc", "qdisc", "show", "dev", "eth0"),
            "filters": ("tc", "filter", "show", "dev", "eth0"),
            "tables": ("nft", "list", "tables"),
        }.items():
            said = await target.kube.exec("llm", name, container, argv)
            found[what] += [row for row in said.stdout.splitlines() if row.strip() and "noqueue" not in row]
    pods = await target.kube.list(paths.pods("llm"))
    found["pods"] = [pod["metadata"]["name"] for pod in pods if pod["metadata"]["name"].startswith("drillbook")]
    return found


NOTHING: dict[str, list[str]] = {"qdiscs": [], "filters": [], "tables": [], "pods": []}


def ask(url: str, body: dict[str, Any] | None = None, timeout: float = 30) -> bytes:
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        content: bytes = answer.read()
    return content


async def complete(target: Target, tokens: int, timeout: float = 30) -> float:
    body = {"model": stack.MODEL, "prompt": "Hi", "max_tokens": tokens, "ignore_eos": True}
    began = time.monotonic()
    await asyncio.to_thread(ask, f"{await target.endpoint()}/v1/completions", body, timeout)
    return time.monotonic() - began


def cmdline(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
