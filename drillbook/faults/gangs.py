"""Pods that live and die together, and the token capacity that is left when some of them are hit.

A model that is spread over several pods by tensor or pipeline parallelism makes no token once one of them is gone. A
LeaderWorkerSet recreates the whole group then (``RecreateGroupOnPodRestart``, its default:
https://lws.sigs.k8s.io/docs/concepts/), so one pod that is hit takes its group along.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from drillbook.targets import accelerators

_LWS = "leaderworkerset.sigs.k8s.io/"
_FOUND_BY = (
    (_LWS + "name", _LWS + "group-index"),
    ("disaggregatedset.x-k8s.io/name", "disaggregatedset.x-k8s.io/role", "disaggregatedset.x-k8s.io/group-index"),
)
"""Labels that name a group, all of a row together."""

Pods = list[dict[str, Any]]


def of(pod: dict[str, Any]) -> str:
    """The name of the pod's gang; its own uid where it works alone."""
    marks = pod["metadata"].get("labels") or {}
    for keys in _FOUND_BY:
        if all(key in marks for key in keys):
            return "/".join((pod["metadata"].get("namespace", ""), *(marks[key] for key in keys)))
    return str(pod["metadata"]["uid"])


def taken_along(hit: Iterable[dict[str, Any]], pods: Pods) -> Pods:
    """All of ``pods`` that go when those of ``hit`` go, themselves included."""
    gangs = {of(pod) for pod in hit}
    return [pod for pod in pods if of(pod) in gangs]


def capacity_left(engines: Pods, hit: set[str]) -> float:
    """The share of token capacity that stays: of gangs that run whole and are not hit (``hit`` holds uids), by GPUs.

    Where no GPU is counted (DRA claims, CPU engines) every pod counts the same.
    """
    counted = any(map(accelerators.count, engines))
    weight = {pod["metadata"]["uid"]: accelerators.count(pod) if counted else 1 for pod in engines}
    broken = {of(pod) for pod in engines if pod["metadata"]["uid"] in hit or not runs(pod)}
    left = sum(weight[pod["metadata"]["uid"]] for pod in engines if of(pod) not in broken)
    return left / sum(weight.values()) if engines else 0.0


def runs(pod: dict[str, Any]) -> bool:
    """Whether a pod is running and not on its way out."""
    return pod.get("status", {}).get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
