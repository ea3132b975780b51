"""drillbook as an extension of Chaos Toolkit: every fault an action, every probe a probe, and ``undo``.

``actions`` and ``probes`` are made from drillbook's own registries, so a new fault or probe is in them by itself. The
activities of one process share a ``session``: the target's Lease, the undo record, the load. When that process ends,
however it ends, the session's watchdog undoes what the rollbacks did not.
"""

from __future__ import annotations

from typing import Any

import drillbook


def discover(discover_system: bool = True) -> dict[str, Any]:
    """What ``chaos discover --no-install drillbook`` lists."""
    from chaoslib.discovery.discover import discover_actions, discover_probes, initialize_discovery_result

    found: dict[str, Any] = initialize_discovery_result("drillbook", drillbook.__version__, "vllm")
    found["activities"] += discover_actions(f"{__name__}.actions")
    found["activities"] += discover_probes(f"{__name__}.probes")
    return found
