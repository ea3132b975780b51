"""The eviction API: a deletion that asks the PodDisruptionBudgets first."""

from __future__ import annotations

from drillbook.sandbox.control import selectors, statuses, times
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.objects import (
    Json,
    dig,
    is_condition_true,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
)
from drillbook.sandbox.control.registry import Registry

_BUDGETS = "poddisruptionbudgets.policy"


def evict(registry: Registry, pod: Json, options: DeleteOptions) -> None:
    """Begin the pod's deletion. Raises ApiError 429 where a budget forbids it, 500 where several budgets select it."""
    kind, namespace, name = registry.kinds.of_resource("pods"), namespace_of(pod), name_of(pod)
    if dig(pod, "status", "phase") not in ("Succeeded", "Failed", "Pending") and not is_deleting(pod):
        budgets = [
            budget
            for budget in registry.store.objects(_BUDGETS, namespace)
            if selectors.of_selector(dig(budget, "spec", "selector"))(labels_of(pod))
        ]
        if len(budgets) > 1:
            raise statuses.ApiError(
                500,
                "InternalError",
                "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            )
        if budgets:
            _spend(registry, budgets[0], pod, dry_run=options.dry_run)
    if not options.dry_run and not is_deleting(pod):
        registry.modify(kind, namespace, name, _mark, "status")
    registry.delete(kind, namespace, name, options)


def _mark(pod: Json) -> None:
    conditions = [row for row in dig(pod, "status", "conditions", default=[]) if row["type"] != "DisruptionTarget"]
    conditions.append(
        {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "EvictionByEvictionAPI",
            "message": "Eviction API: evicting",
            "lastTransitionTime": times.stamp(),
        }
    )
    pod["status"]["conditions"] = conditions


def _spend(registry: Registry, budget: Json, pod: Json, *, dry_run: bool) -> None:
    status = budget.get("status") or {}
    unready_anyway = (
        dig(budget, "spec", "unhealthyPodEvictionPolicy") == "AlwaysAllow"
        or status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0
    )
    if not is_condition_true(pod, "Ready") and unready_anyway:
        return
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 1:
        name = name_of(budget)
        message = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods and has "
            f"{status.get('currentHealthy', 0)} currently"
        )
        raise statuses.ApiError(
            429,
            "TooManyRequests",
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {"causes": [{"reason": "DisruptionBudget", "message": message}]},
        )
    if dry_run:
        return

    def spend(fresh: Json) -> None:
        fresh["status"]["disruptionsAllowed"] = allowed - 1
        fresh["status"].setdefault("disruptedPods", {})[name_of(pod)] = times.stamp()

    registry.modify(registry.kinds.of_resource(_BUDGETS), namespace_of(budget), name_of(budget), spend, "status")
