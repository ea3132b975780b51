"""Whether and how well a pod fits a node: the scheduler's filters and scores. Pure.

The sentences are those of kube-scheduler, because people search logs and events for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from drillbook.sandbox.control import quantity, selectors
from drillbook.sandbox.control.objects import Json, dig, labels_of, name_of

Amounts = dict[str, Decimal]
_ZERO = Decimal(0)


def requests_of(pod: Json) -> Amounts:
    """What the pod asks of a node: the sum of its containers or the largest init container, whichever is more."""
    spec = pod["spec"]
    total: Amounts = {"pods": Decimal(1)}
    for container in spec.get("containers") or []:
        for name, value in _container_requests(container):
            total[name] = total.get(name, _ZERO) + value
    for container in spec.get("initContainers") or []:
        for name, value in _container_requests(container):
            if container.get("restartPolicy") == "Always":
                total[name] = total.get(name, _ZERO) + value
            else:
                total[name] = max(total.get(name, _ZERO), value)
    return total


def _container_requests(container: Json) -> Iterable[tuple[str, Decimal]]:
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return ((name, quantity.parse(value)) for name, value in asked.items())


def allocatable_of(node: Json) -> Amounts:
    return {
        name: quantity.parse(value)
        for name, value in (dig(node, "status", "allocatable") or dig(node, "status", "capacity") or {}).items()
    }


def tolerates(pod: Json, taint: Json) -> bool:
    """Whether some toleration of the pod matches the taint."""
    for row in dig(pod, "spec", "tolerations", default=[]):
        if row.get("effect") not in (None, "", taint["effect"]):
            continue
        key, operator = row.get("key") or "", row.get("operator") or "Equal"
        if (not key and operator == "Exists") or (
            key == taint["key"] and (operator == "Exists" or (row.get("value") or "") == (taint.get("value") or ""))
        ):
            return True
    return False


def untolerated(pod: Json, node: Json, effects: tuple[str, ...]) -> Json | None:
    """The first taint of these effects that the pod does not tolerate."""
    return next(
        (
            taint
            for taint in dig(node, "spec", "taints", default=[])
            if taint["effect"] in effects and not tolerates(pod, taint)
        ),
        None,
    )


def _matches_term(term: Json, node: Json) -> bool:
    fields = term.get("matchFields") or []
    if not term.get("matchExpressions") and not fields:
        return False
    names = {"metadata.name": name_of(node)}
    return all(test(labels_of(node)) for test in selectors.of_expressions(term.get("matchExpressions") or [])) and all(
        test(names) for test in selectors.of_expressions(fields)
    )


def matches_node(pod: Json, node: Json) -> bool:
    """NodeSelector and required node affinity."""
    if not (dig(pod, "spec", "nodeSelector", default={})).items() <= labels_of(node).items():
        return False
    terms = dig(
        pod, "spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"
    )
    return terms is None or any(_matches_term(term, node) for term in terms)


def refusals(pod: Json, node: Json, asked: Amounts, used: Amounts, room: Amounts) -> list[str]:
    """Why the node cannot take the pod, in the scheduler's words; empty where it can. Peers are looked at elsewhere."""
    wanted = dig(pod, "spec", "nodeName")
    if wanted and wanted != name_of(node):
        return ["node(s) didn't match the requested node name"]
    if dig(node, "spec", "unschedulable") and not tolerates(
        pod, {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    ):
        return ["node(s) were unschedulable"]
    taint = untolerated(pod, node, ("NoSchedule", "NoExecute"))
    if taint is not None:
        return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value') or ''}}}"]
    if not matches_node(pod, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    short = [name for name, amount in asked.items() if amount > room.get(name, _ZERO) - used.get(name, _ZERO)]
    return ["Too many pods" if name == "pods" else f"Insufficient {name}" for name in short]


def score(pod: Json, node: Json, asked: Amounts, used: Amounts, room: Amounts) -> float:
    """How welcome the node is: free cpu and memory, preferred affinity, no taints to be avoided."""
    shares = [
        float(max(_ZERO, room[name] - used.get(name, _ZERO) - asked.get(name, _ZERO)) / room[name])
        for name in ("cpu", "memory")
        if room.get(name)
    ]
    total = 100 * sum(shares) / len(shares) if shares else 0.0
    total -= 300.0 * (untolerated(pod, node, ("PreferNoSchedule",)) is not None)
    rows: Any = dig(
        pod, "spec", "affinity", "nodeAffinity", "preferredDuringSchedulingIgnoredDuringExecution", default=[]
    )
    for row in rows:
        total += 2.0 * row["weight"] * _matches_term(row["preference"], node)
    return total
