"""Where engines answer, and the two figures of theirs that tell a hang from a quiet hour."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import aiohttp

from drillbook.probes.names import ITERATIONS, RUNNING
from drillbook.targets.target import Target

TIMEOUT_SECONDS = 2.0
"""How long one answer may take."""
_SAMPLE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{[^}]*\})?\s+(?P<value>\S+)", re.MULTILINE)


def session() -> aiohttp.ClientSession:
    """Each question over a connection of its own, as the kubelet asks: a kept one may outlive the listener."""
    limits = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    return aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(force_close=True, limit=0))


def base_url(pod: dict[str, Any], target: Target, role: str = "engine") -> str | None:
    """Where a running pod answers, by its own address; None while it has none."""
    status = pod.get("status") or {}
    address = status.get("podIP")
    if not address or status.get("phase") != "Running":
        return None
    known = target.stack.roles.get(role)
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{known.port if known else 8000}"


async def metrics(http: aiohttp.ClientSession, base: str) -> dict[str, float]:
    """``RUNNING`` and ``ITERATIONS`` of one engine, summed over its ranks; without those that it does not tell.

    Raises:
        aiohttp.ClientError, TimeoutError: it does not answer, or not with 200.

    """
    async with http.get(f"{base}/metrics") as response:
        response.raise_for_status()
        return parse_metrics(await response.text(errors="replace"), (RUNNING, ITERATIONS))


def parse_metrics(text: str, wanted: Iterable[str]) -> dict[str, float]:
    """Sums of the wanted series in the Prometheus text format; a value that is no number is left out."""
    names = set(wanted)
    found: dict[str, float] = {}
    for match in _SAMPLE.finditer(text):
        if match["name"] in names:
            try:
                found[match["name"]] = found.get(match["name"], 0.0) + float(match["value"])
            except ValueError:
                continue
    return found
