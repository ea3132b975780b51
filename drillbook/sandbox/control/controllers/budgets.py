"""PodDisruptionBudgets: how many pods may be evicted just now."""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import quantity, selectors, times
from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, controller_of, dig, is_deleting, labels_of, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

_UNDELETED = 120.0
"""Seconds after which an eviction that deleted nothing is forgotten."""


class DisruptionBudgets(Controller):
    resource = "poddisruptionbudgets.policy"
    component = "controllermanager"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self.store.listen("pods", self._on_pod)

    def _on_pod(self, change: Change) -> None:
        for budget in self.store.objects(self.resource, namespace_of(change.obj)):
            test = selectors.of_selector(dig(budget, "spec", "selector"))
            if test(labels_of(change.obj)) or (change.previous is not None and test(labels_of(change.previous.obj))):
                self.enqueue((namespace_of(budget), name_of(budget)))

    def reconcile(self, namespace: str, name: str) -> float | None:
        budget = self.registry.find(self.resource, namespace, name)
        if budget is None:
            return None
        test = selectors.of_selector(dig(budget, "spec", "selector"))
        pods = [pod for pod in self.store.objects("pods", namespace) if test(labels_of(pod))]
        present = {name_of(pod): pod for pod in pods}
        now = clock.wall()
        disrupted = {
            pod: since
            for pod, since in dig(budget, "status", "disruptedPods", default={}).items()
            if pod in present and not is_deleting(present[pod]) and times.parse(since) + _UNDELETED > now
        }
        healthy = sum(
            1 for pod in pods if podset.is_ready(pod) and podset.is_active(pod) and name_of(pod) not in disrupted
        )
        expected, wanted = self._expected(budget, pods)
        allowed = max(0, healthy - wanted) if expected else 0
        status: Json = {
            "currentHealthy": healthy, "desiredHealthy": wanted, "disruptionsAllowed": allowed,
            "expectedPods": expected, "observedGeneration": budget["metadata"].get("generation", 1),
            "conditions": [_condition(budget, allowed)],
        }  # fmt: skip
        if disrupted:
            status["disruptedPods"] = disrupted
        if status != budget.get("status"):
            self.registry.modify(self._kind, namespace, name, lambda fresh: fresh.update(status=status), "status")
        return _UNDELETED if disrupted else None

    def _expected(self, budget: Json, pods: list[Json]) -> tuple[int, int]:
        """How many pods there should be, and how many of them healthy."""
        least, most = dig(budget, "spec", "minAvailable"), dig(budget, "spec", "maxUnavailable")
        if isinstance(least, int):
            return len(pods), least
        expected = self._scale(pods)
        if least is not None:
            return expected, quantity.of_share(least, expected, up=True)
        return expected, max(0, expected - quantity.of_share(1 if most is None else most, expected, up=True))

    def _scale(self, pods: list[Json]) -> int:
        """The wanted replicas of all the controllers of these pods; a pod without one counts for itself."""
        owners: dict[str, int] = {}
        for pod in pods:
            owner = controller_of(pod)
            found = self.store.by_uid(owner["uid"]) if owner else None
            above = controller_of(found) if found else None
            found = (self.store.by_uid(above["uid"]) if above and above["kind"] == "Deployment" else None) or found
            key = found["metadata"]["uid"] if found else pod["metadata"]["uid"]
            owners[key] = int(dig(found, "spec", "replicas", default=1))
        return sum(owners.values())


def _condition(budget: Json, allowed: int) -> Json:
    value, reason = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    before: Json = dig(budget, "status", "conditions", 0, default={})
    since = before.get("lastTransitionTime") if before.get("status") == value else times.stamp()
    return {
        "type": "DisruptionAllowed",
        "status": value,
        "reason": reason,
        "message": "",
        "lastTransitionTime": since,
        "observedGeneration": budget["metadata"].get("generation", 1),
    }
