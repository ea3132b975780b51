"""A probe of our own: a function of the target that returns a number. It looks, and never judges."""

from __future__ import annotations

from typing import Any

from drillbook.probes import probe


@probe("engine-restarts", dimension="count", every="2s")
async def engine_restarts(target: Any) -> float:
    """How often Kubernetes restarted containers of the engine pods that are there now."""
    pods = await target.pods("engine")
    statuses = [status for pod in pods for status in pod.get("status", {}).get("containerStatuses") or []]
    return float(sum(status.get("restartCount", 0) for status in statuses))
