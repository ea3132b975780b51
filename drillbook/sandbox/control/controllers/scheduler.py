"""The scheduler: pods without a node get the best one that fits, or the real reasons why none does."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal

from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import fit, peers
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, condition_of, dig, is_deleting, name_of, uid_of
from drillbook.sandbox.control.registry import Registry, key_of
from drillbook.sandbox.control.store import Change

_NAME = "default-scheduler"


class Scheduler(Controller):
    resource = "pods"
    component = _NAME

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._placed: defaultdict[str, dict[str, Json]] = defaultdict(dict)
        self._used: defaultdict[str, fit.Amounts] = defaultdict(dict)
        self._pending: dict[Key, None] = {}
        super().__init__(registry, recorder)
        for pod in self.store.objects("pods"):
            self._place(pod)
        self.store.listen("nodes", self._on_node)

    def prime(self) -> list[Key]:
        return [key_of(pod) for pod in self.store.objects("pods") if self._concerns(pod)]

    def _concerns(self, pod: Json) -> bool:
        spec = pod["spec"]
        return not spec.get("nodeName") and spec.get("schedulerName") == _NAME and not is_deleting(pod)

    def _on_own_change(self, change: Change) -> None:
        """Keeps count of what is used, and gives waiting pods another chance when something was freed."""
        pod, previous = change.obj, change.previous
        if previous is not None and dig(previous.obj, "spec", "nodeName"):
            self._displace(previous.obj)
        if change.type != "DELETED":
            self._place(pod)
            if self._concerns(pod) and (previous is None or not self._was_told(change)):
                self.enqueue(key_of(pod))
        if change.type == "DELETED" or dig(pod, "status", "phase") in ("Succeeded", "Failed"):
            self._pending.pop(key_of(pod), None)
            self._retry_pending()

    def _was_told(self, change: Change) -> bool:
        """Whether the change is our own word that the pod does not fit."""
        return change.previous is not None and change.previous.obj["spec"] == change.obj["spec"]

    def _on_node(self, change: Change) -> None:
        before = change.previous.obj if change.previous is not None else {}
        if any(dig(before, *path) != dig(change.obj, *path) for path in (
                ("spec",), ("status", "allocatable"), ("metadata", "labels"))):
            self._retry_pending()

    def _retry_pending(self) -> None:
        for key in self._pending:
            self.enqueue(key)

    def _place(self, pod: Json) -> None:
        node = dig(pod, "spec", "nodeName")
        if node and dig(pod, "status", "phase") not in ("Succeeded", "Failed"):
            self._placed[node][uid_of(pod)] = pod
            used = self._used[node]
            for name, amount in fit.requests_of(pod).items():
                used[name] = used.get(name, Decimal(0)) + amount

    def _displace(self, pod: Json) -> None:
        node = pod["spec"]["nodeName"]
        if self._placed[node].pop(uid_of(pod), None) is not None:
            used = self._used[node]
            for name, amount in fit.requests_of(pod).items():
                used[name] = used.get(name, Decimal(0)) - amount

    def reconcile(self, namespace: str, name: str) -> float | None:
        pod = self.registry.find("pods", namespace, name)
        if pod is None or not self._concerns(pod):
            self._pending.pop((namespace, name), None)
            return None
        nodes = list(self.store.objects("nodes"))
        best, reasons = self._choose(pod, nodes)
        if best is None:
            self._pending[namespace, name] = None
            self._tell(pod, len(nodes), reasons)
            return None
        self._pending.pop((namespace, name), None)
        bound = self.registry.bind(namespace, name, name_of(best)).obj
        self.recorder.normal(bound, _NAME, "Scheduled",
                             f"Successfully assigned {namespace}/{name} to {name_of(best)}")
        return None

    def _choose(self, pod: Json, nodes: list[Json]) -> tuple[Json | None, Counter[str]]:
        asked = fit.requests_of(pod)
        placed = {node: rows.values() for node, rows in self._placed.items()}
        rules = peers.PeerRules(pod, nodes, placed) if self._has_peers(pod) else None
        reasons: Counter[str] = Counter()
        best: Json | None = None
        best_score: tuple[float, str] = (float("-inf"), "")
        for node in nodes:
            used = self._used[name_of(node)]
            refused = fit.refusals(pod, node, asked, used)
            if not refused and rules is not None and (why := rules.refusal(node)):
                refused = [why]
            if refused:
                reasons.update(refused)
                continue
            points = fit.score(pod, node, asked, used) + (rules.score(node) if rules else 0.0)
            points -= 100.0 * peers.crowding(pod, self._placed[name_of(node)].values()) if len(nodes) > 1 else 0.0
            if (points, name_of(node)) > best_score:
                best, best_score = node, (points, name_of(node))
        return best, reasons

    def _has_peers(self, pod: Json) -> bool:
        return peers.needs_peers(pod) or any(dig(other, "spec", "affinity", "podAntiAffinity")
                                             for rows in self._placed.values() for other in rows.values())

    def _tell(self, pod: Json, count: int, reasons: Counter[str]) -> None:
        """The PodScheduled condition and the event, in the scheduler's own words."""
        if count == 0:
            message = "no nodes available to schedule pods"
        else:
            parts = sorted(f"{number} {reason}" for reason, number in reasons.items())
            message = f"0/{count} nodes are available: {', '.join(parts)}."
            lacking = any(reason.startswith(("Insufficient", "Too many")) for reason in reasons)
            why = "No preemption victims found for incoming pod" if lacking else \
                "Preemption is not helpful for scheduling"
            message += f" preemption: 0/{count} nodes are available: {count} {why}."
        before = condition_of(pod, "PodScheduled")
        if before is None or before.get("message") != message:
            row = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                   "lastProbeTime": None, "lastTransitionTime": times.stamp()}

            def change(fresh: Json) -> None:
                rest = [other for other in dig(fresh, "status", "conditions", default=[])
                        if other["type"] != "PodScheduled"]
                fresh["status"]["conditions"] = [*rest, row]

            self.registry.modify(self.registry.kinds.of_resource("pods"), *key_of(pod), change, "status")
        self.recorder.warning(pod, _NAME, "FailedScheduling", message)
