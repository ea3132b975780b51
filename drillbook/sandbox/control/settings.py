"""The control plane's timings. The defaults are those of a real cluster; a drill may shorten them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Settings:
    """All durations in seconds; each is also a command-line flag (``--node-monitor-grace-period 8``)."""

    node_monitor_grace_period: float = 50.0
    """Without a renewed lease for this long a node is NotReady (50 s since Kubernetes 1.32, 40 s before)."""
    default_toleration_seconds: int = 300
    """How long a pod tolerates a node that is not ready or not reachable (admission plugin's default)."""
    pod_gc_quarantine: float = 40.0
    """How long a node must be gone before its pods are."""
    hpa_sync_period: float = 15.0
    hpa_downscale_stabilization: int = 300
    hpa_tolerance: float = 0.1
    """No scaling while the ratio is within this share of 1."""
    event_ttl: float = 3600.0
    service_cidr: str = "10.97.0.0/16"
    """Where cluster IPs come from."""
    bookmark_period: float = 60.0
    """A quiet watch gets a bookmark this often, if it asked for them."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    for row in fields(Settings):
        default = row.default
        parser.add_argument(
            "--" + row.name.replace("_", "-"),
            type=type(default),
            default=default,
            metavar="SECONDS" if isinstance(default, float | int) else "CIDR",
            help=f"default {default}",
        )


def from_arguments(arguments: argparse.Namespace) -> Settings:
    return Settings(**{row.name: getattr(arguments, row.name) for row in fields(Settings)})
