"""Accelerators that a pod holds, by the resource names of their device plugins."""

from __future__ import annotations

from typing import Any

EXACT = frozenset(
    {
        "nvidia.com/gpu",
        "amd.com/gpu",
        "habana.ai/gaudi",
        "gpu.intel.com/i915",
        "gpu.intel.com/xe",
        "google.com/tpu",
        "rebellions.ai/ATOM",
    }
)
"""Extended resources that count whole devices."""
PREFIXES = ("nvidia.com/mig-",)
"""Slices of a device, each counted as one."""


def count(pod: dict[str, Any]) -> int:
    """Devices in the limits of a pod's containers; 0 where they come by DRA claims, which have no limit to read."""
    return sum(amount(each.get("resources", {}).get("limits", {})) for each in pod["spec"].get("containers", []))


def amount(resources: dict[str, Any]) -> int:
    """Devices among resources: a container's limits, or what a node can give."""
    return sum(int(value) for name, value in resources.items() if name in EXACT or name.startswith(PREFIXES))


def holder(pod: dict[str, Any]) -> str:
    """The name of the first container that holds a device, or empty."""
    return _held(pod)[0]


def resource(pod: dict[str, Any]) -> str:
    """The resource name of the devices that the pod holds, or empty."""
    return _held(pod)[1]


def _held(pod: dict[str, Any]) -> tuple[str, str]:
    for container in pod["spec"].get("containers", []):
        for name in container.get("resources", {}).get("limits", {}):
            if name in EXACT or name.startswith(PREFIXES):
                return str(container["name"]), str(name)
    return "", ""
