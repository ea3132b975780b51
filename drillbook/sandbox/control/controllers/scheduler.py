"""The scheduler: pods without a node get the best one that fits, or the real reasons why none does."""

from __future__ import annotations

from collections import Counter

from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import fit, peers
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.occupancy import Occupancy
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, condition_of, dig, is_deleting, name_of
from drillbook.sandbox.control.registry import Registry, key_of
from drillbook.sandbox.control.store import Change

_NAME = "default-scheduler"


class Scheduler(Controller):
    resource = "pods"
    component = _NAME

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        self._occupancy = Occupancy()
        self._pending: dict[Key, None] = {}
        super().__init__(registry, recorder)
        for pod in self.store.objects("pods"):
            self._occupancy.add(pod)
        self.store.listen("nodes", self._on_node)

    def prime(self) -> list[Key]:
        return [key_of(pod) for pod in self.store.objects("pods") if self._concerns(pod)]

    def _concerns(self, pod: Json) -> bool:
        spec = pod["spec"]
        return not spec.get("nodeName") and spec.get("schedulerName") == _NAME and not is_deleting(pod)

    def _on_own_change(self, change: Change) -> None:
        """Keeps the account of what is used, and gives waiting pods another chance when something was freed."""
        pod, previous = change.obj, change.previous
        self._occupancy.follow(change)
        if change.type != "DELETED" and self._concerns(pod) and (previous is None or not self._was_told(change)):
            self.enqueue(key_of(pod))
        if change.type == "DELETED" or dig(pod, "status", "phase") in ("Succeeded", "Failed"):
            self._pending.pop(key_of(pod), None)
            self._retry_pending()

    def _was_told(self, change: Change) -> bool:
        """Whether the change is our own word that the pod does not fit."""
        return change.previous is not None and change.previous.obj["spec"] == change.obj["spec"]

    def _on_node(self, change: Change) -> None:
        before = change.previous.obj if change.previous is not None else {}
        if any(
            dig(before, *path) != dig(change.obj, *path)
            for path in (("spec",), ("status", "allocatable"), ("metadata", "labels"))
        ):
            self._retry_pending()

    def _retry_pending(self) -> None:
        for key in self._pending:
            self.enqueue(key)

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
        self.recorder.normal(bound, _NAME, "Scheduled", f"Successfully assigned {namespace}/{name} to {name_of(best)}")
        return None

    def _choose(self, pod: Json, nodes: list[Json]) -> tuple[Json | None, Counter[str]]:
        asked = fit.requests_of(pod)
        peered = peers.needs_peers(pod) or self._occupancy.has_shunning()
        rules = peers.PeerRules(pod, nodes, self._occupancy.pods_on) if peered else None
        reasons: Counter[str] = Counter()
        best: Json | None = None
        best_score: tuple[float, str] = (float("-inf"), "")
        for node in nodes:
            name = name_of(node)
            used, room = self._occupancy.used_on(name), self._occupancy.room_of(node)
            refused = fit.refusals(pod, node, asked, used, room)
            if not refused and rules is not None and (why := rules.refusal(node)):
                refused = [why]
            if refused:
                reasons.update(refused)
                continue
            points = fit.score(pod, node, asked, used, room) + (rules.score(node) if rules else 0.0)
            points -= 100.0 * self._occupancy.siblings_on(name, pod)
            if (points, name) > best_score:
                best, best_score = node, (points, name)
        return best, reasons

    def _tell(self, pod: Json, count: int, reasons: Counter[str]) -> None:
        """The PodScheduled condition and the event, in the scheduler's own words."""
        if count == 0:
            message = "no nodes available to schedule pods"
        else:
            parts = sorted(f"{number} {reason}" for reason, number in reasons.items())
            message = f"0/{count} nodes are available: {', '.join(parts)}."
            lacking = any(reason.startswith(("Insufficient", "Too many")) for reason in reasons)
            why = (
                "No preemption victims found for incoming pod"
                if lacking
                else "Preemption is not helpful for scheduling"
            )
            message += f" preemption: 0/{count} nodes are available: {count} {why}."
        before = condition_of(pod, "PodScheduled")
        if before is None or before.get("message") != message:
            row = {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": message,
                "lastProbeTime": None,
                "lastTransitionTime": times.stamp(),
            }

            def change(fresh: Json) -> None:
                rest = [
                    other for other in dig(fresh, "status", "conditions", default=[]) if other["type"] != "PodScheduled"
                ]
                fresh["status"]["conditions"] = [*rest, row]

            self.registry.modify(self.registry.kinds.of_resource("pods"), *key_of(pod), change, "status")
        self.recorder.warning(pod, _NAME, "FailedScheduling", message)
