"""How many replicas each metric of a HorizontalPodAutoscaler asks for, by the documented algorithm.

``desired = ceil(current * value / target)``, nothing within the tolerance; unready pods count as idle on the way up and
pods without a measurement as fully used on the way down, so that neither exaggerates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal

from drillbook.sandbox.control import metrics, quantity
from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.objects import Json, dig
from drillbook.sandbox.control.store import Store


class MetricError(Exception):
    """A metric that cannot be read, with the condition's reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Recommendation:
    replicas: int
    current: Json
    """The row of ``status.currentMetrics``."""
    why: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What a recommendation is made for: the target's replicas and the pods that its selector takes."""

    store: Store
    namespace: str
    replicas: int
    pods: list[Json]
    tolerance: float


def _text(value: Decimal) -> str:
    """A quantity as Kubernetes prints it: whole, or in thousandths."""
    return str(int(value)) if value == value.to_integral_value() else f"{int(value * 1000)}m"


def recommend(metric: Json, scope: Scope) -> Recommendation:
    """Raises MetricError."""
    kind = metric["type"]
    if kind == "Resource":
        return _resource(metric["resource"], scope)
    if kind == "Pods":
        return _pods(metric["pods"], scope)
    if kind == "External":
        return _external(metric["external"], scope)
    raise MetricError("InvalidMetricSourceType", f"the sandbox cannot read metrics of type {kind}")


def _scaled(scope: Scope, values: dict[str, Decimal], target: Decimal, full: Decimal) -> int:
    """Replicas from values by pod name: what is missing counts for nothing going up, for ``full`` going down."""
    pods = [pod for pod in scope.pods if podset.is_active(pod)]
    names = {pod["metadata"]["name"]: podset.is_ready(pod) for pod in pods}
    ready = {name: value for name, value in values.items() if names.get(name)}
    missing = [name for name in names if name not in values]
    if not ready:
        return scope.replicas
    ratio = float(sum(ready.values(), Decimal(0)) / (len(ready) * target))
    count, total = len(ready), sum(ready.values(), Decimal(0))
    unready = [name for name in names if name in values and not names[name]]
    if not missing and not (unready and ratio > 1):
        return scope.replicas if abs(ratio - 1) <= scope.tolerance else math.ceil(ratio * len(ready))
    count += len(missing)
    if ratio < 1:
        total += full * len(missing)
    else:
        count += len(unready)
    again = float(total / (count * target))
    if abs(again - 1) <= scope.tolerance or (again > 1) != (ratio > 1):
        return scope.replicas
    wanted = math.ceil(again * count)
    return scope.replicas if (again > 1) != (wanted > scope.replicas) else wanted


def _resource(source: Json, scope: Scope) -> Recommendation:
    name, target = source["name"], source["target"]
    values = {
        pod["metadata"]["name"]: used
        for pod in scope.pods
        if (used := metrics.usage_of(scope.store, pod, name)) is not None
    }
    if not values:
        raise MetricError(
            "FailedGetResourceMetric",
            f"failed to get {name} utilization: unable to get metrics for "
            f"resource {name}: no metrics returned from resource metrics API",
        )
    average = sum(values.values(), Decimal(0)) / len(values)
    if target.get("averageUtilization") is None:
        goal = quantity.parse(target["averageValue"])
        replicas = _scaled(scope, values, goal, goal)
        return Recommendation(replicas, _row("resource", source, {"averageValue": _text(average)}), f"{name} resource")
    asked = [
        sum(
            (quantity.parse(dig(row, "resources", "requests", name, default=0)) for row in pod["spec"]["containers"]),
            Decimal(0),
        )
        for pod in scope.pods
    ]
    request = sum(asked, Decimal(0)) / len(asked)
    if not all(asked):
        raise MetricError(
            "FailedGetResourceMetric",
            f"failed to get {name} utilization: missing request for {name} in a container of the target's pods",
        )
    goal = request * target["averageUtilization"] / 100
    share = int(100 * average / request)
    replicas = _scaled(scope, values, goal, request)
    current = {"averageValue": _text(average), "averageUtilization": share}
    return Recommendation(
        replicas, _row("resource", source, current), f"{name} resource utilization (percentage of request)"
    )


def _pods(source: Json, scope: Scope) -> Recommendation:
    name = source["metric"]["name"]
    values = {
        pod["metadata"]["name"]: value
        for pod in scope.pods
        if (value := metrics.custom_of(scope.store, pod, name)) is not None
    }
    if not values:
        raise MetricError(
            "FailedGetPodsMetric", f"unable to get metric {name}: no metrics returned from custom metrics API"
        )
    goal = quantity.parse(source["target"]["averageValue"])
    average = sum(values.values(), Decimal(0)) / len(values)
    return Recommendation(
        _scaled(scope, values, goal, goal),
        _row("pods", source, {"averageValue": _text(average)}),
        f"pods metric {name}",
    )


def _external(source: Json, scope: Scope) -> Recommendation:
    name = source["metric"]["name"]
    value = metrics.external(scope.store, scope.namespace, name, source["metric"].get("selector"))
    if value is None:
        raise MetricError(
            "FailedGetExternalMetric",
            f"unable to get external metric {scope.namespace}/{name}: no metrics returned from external metrics API",
        )
    target = source["target"]
    if target.get("averageValue") is not None:
        goal = quantity.parse(target["averageValue"])
        ratio = float(value / (goal * max(1, scope.replicas)))
        wanted = math.ceil(value / goal)
        current = {"averageValue": _text(value / max(1, scope.replicas))}
    else:
        ratio = float(value / quantity.parse(target["value"]))
        ready = sum(1 for pod in scope.pods if podset.is_ready(pod)) or scope.replicas
        wanted = math.ceil(ratio * ready)
        current = {"value": _text(value)}
    replicas = scope.replicas if abs(ratio - 1) <= scope.tolerance else wanted
    return Recommendation(replicas, _row("external", source, current), f"external metric {name}")


def _row(field: str, source: Json, current: Json) -> Json:
    subject = {"metric": source["metric"]} if "metric" in source else {"name": source["name"]}
    return {"type": field.capitalize(), field: {**subject, "current": current}}
