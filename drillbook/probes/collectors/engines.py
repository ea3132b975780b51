"""Where pods answer, and the figures of their ``/metrics``: two of an engine's tell a hang from a quiet hour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import aiohttp

from drillbook.probes.names import CACHE_USE, FINISHED, ITERATIONS, RUNNING
from drillbook.targets.target import Target

TIMEOUT_SECONDS = 2.0
"""How long one answer may take."""
ALWAYS = frozenset({RUNNING, ITERATIONS})
"""What is read of each engine in every run."""
_SAMPLE = re.compile(r"^(?P<name>[A-Za-z_:][\w:]*)(?:\{(?P<labels>[^}]*)\})?\s+(?P<value>\S+)", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ENDED_WELL = ("stop", "length")


def session() -> aiohttp.ClientSession:
    """Each question over a connection of its own, as the kubelet asks: a kept one may outlive the listener."""
    limits = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    return aiohttp.ClientSession(timeout=limits, connector=aiohttp.TCPConnector(force_close=True, limit=0))


def base_url(pod: dict[str, Any], target: Target, role: str = "engine") -> str | None:
    """Where a running pod answers, by its own address; None while it has none."""
    known = target.stack.roles.get(role)
    return _url(pod, known.port if known else 8000)


def router_url(pod: dict[str, Any], target: Target) -> str | None:
    """Where a running router has its metrics; None while it has no address."""
    known = target.stack.roles.get("router")
    return _url(pod, (known.metrics or known.port) if known else 8000)


def _url(pod: dict[str, Any], port: int) -> str | None:
    status = pod.get("status") or {}
    address = status.get("podIP")
    if not address or status.get("phase") != "Running":
        return None
    host = f"[{address}]" if ":" in address else address
    return f"http://{host}:{port}"


async def metrics(http: aiohttp.ClientSession, base: str, wanted: Iterable[str] = ALWAYS) -> dict[str, float]:
    """The wanted series of one engine; without those that it does not tell.

    Raises:
        aiohttp.ClientError, TimeoutError: it does not answer, or not with 200.

    """
    return parse_metrics(await exposition(http, base), wanted)


async def exposition(http: aiohttp.ClientSession, base: str) -> str:
    """What ``/metrics`` says, in the Prometheus text format; raises as ``metrics`` does."""
    async with http.get(f"{base}/metrics") as response:
        response.raise_for_status()
        return await response.text(errors="replace")


def parse_metrics(text: str, wanted: Iterable[str]) -> dict[str, float]:
    """Each wanted series over all ranks of an engine: its sum, of shares the highest; of answers those that ended
    well.
    """
    found: dict[str, float] = {}
    for name, labels, value in samples(text, frozenset(wanted)):
        if name == CACHE_USE:
            found[name] = max(found.get(name, 0.0), value)
        elif name != FINISHED or labels.get("finished_reason") in _ENDED_WELL:
            found[name] = found.get(name, 0.0) + value
    return found


def samples(text: str, wanted: frozenset[str]) -> Iterator[tuple[str, dict[str, str], float]]:
    """Name, labels and value of every sample of the wanted series; a value that is no number is left out."""
    for match in _SAMPLE.finditer(text):
        if match["name"] in wanted:
            try:
                value = float(match["value"])
            except ValueError:
                continue
            yield match["name"], dict(_LABEL.findall(match["labels"] or "")), value
