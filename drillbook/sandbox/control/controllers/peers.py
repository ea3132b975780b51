"""Pod affinity, anti-affinity and topology spread: where a pod may go depends on who is there. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from drillbook.sandbox.control import selectors
from drillbook.sandbox.control.controllers import fit
from drillbook.sandbox.control.objects import Json, dig, labels_of, name_of, namespace_of

Placed = Callable[[str], Iterable[Json]]
"""The pods on the node of this name."""

_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def needs_peers(pod: Json) -> bool:
    """Whether the pod says anything about other pods."""
    spec = pod["spec"]
    return bool(
        spec.get("topologySpreadConstraints")
        or dig(spec, "affinity", "podAffinity")
        or dig(spec, "affinity", "podAntiAffinity")
    )


def _selects(term: Json, owner: Json, pod: Json) -> bool:
    namespaces = term.get("namespaces") or [namespace_of(owner)]
    return (namespace_of(pod) in namespaces or term.get("namespaceSelector") == {}) and selectors.of_selector(
        term.get("labelSelector")
    )(labels_of(pod))


def _domains(term: Json, owner: Json, nodes: list[Json], placed: Placed) -> Counter[str]:
    """How many selected pods live in each domain of the term's topology key."""
    found: Counter[str] = Counter()
    for node in nodes:
        domain = labels_of(node).get(term["topologyKey"])
        if domain is not None:
            found[domain] += sum(1 for pod in placed(name_of(node)) if _selects(term, owner, pod))
    return found


def _rows(pod: Json, kind: str, when: str) -> list[Json]:
    rows: Any = dig(pod, "spec", "affinity", kind, when, default=[])
    return list(rows)


class PeerRules:
    """One pod's rules about its peers, evaluated once for all nodes."""

    def __init__(self, pod: Json, nodes: list[Json], placed: Placed) -> None:
        self._pod = pod
        self._apart = [(row, _domains(row, pod, nodes, placed)) for row in _rows(pod, "podAntiAffinity", _REQUIRED)]
        self._together = [(row, _domains(row, pod, nodes, placed)) for row in _rows(pod, "podAffinity", _REQUIRED)]
        wishes = [
            (row["podAffinityTerm"], row["weight"] * sign)
            for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1))
            for row in _rows(pod, kind, _PREFERRED)
        ]
        self._wishes = [(term, weight, _domains(term, pod, nodes, placed)) for term, weight in wishes]
        able = [node for node in nodes if fit.matches_node(pod, node)]
        self._spread = [
            (row, _domains(row, pod, able, placed)) for row in pod["spec"].get("topologySpreadConstraints") or []
        ]
        self._shunned = {
            (row["topologyKey"], labels_of(node).get(row["topologyKey"]))
            for node in nodes
            for other in placed(name_of(node))
            for row in _rows(other, "podAntiAffinity", _REQUIRED)
            if _selects(row, other, pod)
        }

    def refusal(self, node: Json) -> str:
        """Why not this node; empty where nothing is against it."""
        labels = labels_of(node)
        if any((key, labels.get(key)) in self._shunned for key in labels):
            return "node(s) didn't satisfy existing pods anti-affinity rules"
        for row, domains in self._apart:
            if domains[labels.get(row["topologyKey"], "")]:
                return "node(s) didn't match pod anti-affinity rules"
        for row, domains in self._together:
            first = not sum(domains.values()) and _selects(row, self._pod, self._pod)
            if row["topologyKey"] not in labels or not (first or domains[labels[row["topologyKey"]]]):
                return "node(s) didn't match pod affinity rules"
        for row, domains in self._spread:
            if row.get("whenUnsatisfiable") == "ScheduleAnyway":
                continue
            if row["topologyKey"] not in labels:
                return "node(s) didn't match pod topology spread constraints (missing required label)"
            mine = int(_selects(row, self._pod, self._pod))
            least = min(domains.values(), default=0)
            if domains[labels[row["topologyKey"]]] + mine - least > int(row["maxSkew"]):
                return "node(s) didn't match pod topology spread constraints"
        return ""

    def score(self, node: Json) -> float:
        labels = labels_of(node)
        total: float = sum(
            2.0 * weight * bool(domains[labels.get(row["topologyKey"], "")]) for row, weight, domains in self._wishes
        )
        return total - sum(10.0 * domains[labels.get(row["topologyKey"], "")] for row, domains in self._spread)
