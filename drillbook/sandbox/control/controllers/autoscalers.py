"""HorizontalPodAutoscalers: every sync period, as many replicas as the most demanding metric asks for, in bounds."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from drillbook import clock
from drillbook.sandbox.control import scale, selectors, times
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.recommendation import MetricError, Recommendation, Scope, recommend
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, condition_of, copy, dig, labels_of, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

_UP: Json = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_LONGEST_PERIOD = 1800
"""Seconds: the longest ``periodSeconds`` that a policy may have."""
_DOWN: Json = {"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]}


class Autoscalers(Controller):
    resource = "horizontalpodautoscalers.autoscaling"
    component = "horizontal-pod-autoscaler"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._advice: dict[Key, list[tuple[float, int]]] = {}
        self._changes: dict[Key, list[tuple[float, int]]] = {}

    def _on_own_change(self, change: Change) -> None:
        key = (namespace_of(change.obj), name_of(change.obj))
        if change.type == "DELETED":
            self._advice.pop(key, None)
            self._changes.pop(key, None)
        elif change.previous is None or change.previous.obj["spec"] != change.obj["spec"]:
            self.enqueue(key)

    def reconcile(self, namespace: str, name: str) -> float | None:
        hpa = self.registry.find(self.resource, namespace, name)
        if hpa is None:
            return None
        status = copy(hpa.get("status") or {})
        status["observedGeneration"] = hpa["metadata"].get("generation", 1)
        self._sync(hpa, status)
        if status != hpa.get("status"):
            self.registry.modify(self._kind, namespace, name, lambda fresh: fresh.update(status=status), "status")
        return self.registry.settings.hpa_sync_period

    def _sync(self, hpa: Json, status: Json) -> None:
        reference = hpa["spec"]["scaleTargetRef"]
        kind = self.registry.kinds.of(reference.get("apiVersion", "apps/v1"), reference["kind"])
        target = None if kind is None else self.registry.find(kind.resource, namespace_of(hpa), reference["name"])
        if kind is None or target is None or "scale" not in kind.subresources:
            what = f'{reference["kind"].lower()}s "{reference["name"]}"'
            message = f"the HPA controller was unable to get the target's current scale: {what} not found"
            _set(status, "AbleToScale", "False", "FailedGetScale", message)
            self.recorder.warning(hpa, self.component, "FailedGetScale", message)
            return
        _set(
            status,
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        view = scale.to_scale(kind, target)
        current = int(view["spec"]["replicas"])
        # What is there when the autoscaler first looks counts as its first advice: nothing shrinks before the window.
        self._advice.setdefault((namespace_of(hpa), name_of(hpa)), [(clock.monotonic(), current)])
        status["currentReplicas"] = int(view["status"]["replicas"])
        if current == 0:
            status["desiredReplicas"] = 0
            _set(
                status,
                "ScalingActive",
                "False",
                "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero",
            )
            return
        least, most = int(hpa["spec"].get("minReplicas", 1)), int(hpa["spec"]["maxReplicas"])
        why = ""
        if current > most:
            wanted, why = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            wanted, why = least, "Current number of replicas below Spec.MinReplicas"
        else:
            best = self._best(hpa, status, view, current)
            if best is None:
                return
            wanted, why = self._bounded(hpa, status, current, best.replicas), f"{best.why} above target"
            if wanted < current:
                why = "All metrics below target"
        status["desiredReplicas"] = wanted
        if wanted != current:
            self._rescale(hpa, status, kind, target, wanted, why)

    def _best(self, hpa: Json, status: Json, view: Json, current: int) -> Recommendation | None:
        """The most demanding metric; None where none can be read, or fewer than all and the rest say down."""
        test = (
            selectors.parse_labels(dig(view, "status", "selector", default=""))
            if dig(view, "status", "selector")
            else (lambda _: False)
        )
        pods = [pod for pod in self.store.objects("pods", namespace_of(hpa)) if test(labels_of(pod))]
        scope = Scope(self.store, namespace_of(hpa), current, pods, self.registry.settings.hpa_tolerance)
        found: list[Recommendation] = []
        failure: MetricError | None = None
        for metric in hpa["spec"].get("metrics") or []:
            try:
                found.append(recommend(metric, scope))
            except MetricError as problem:
                failure = failure or problem
                self.recorder.warning(hpa, self.component, problem.reason, str(problem))
        best = max(found, key=lambda row: row.replicas, default=None)
        status["currentMetrics"] = [row.current for row in found] or None
        if failure is not None and (best is None or best.replicas < current):
            _set(
                status,
                "ScalingActive",
                "False",
                failure.reason,
                f"the HPA was unable to compute the replica count: {failure}",
            )
            self.recorder.warning(
                hpa,
                self.component,
                "FailedComputeMetricsReplicas",
                f"invalid metrics ({len(hpa['spec']['metrics']) - len(found)} invalid out of "
                f"{len(hpa['spec']['metrics'])}), first error is: {failure}",
            )
            return None
        if best is not None:
            _set(
                status,
                "ScalingActive",
                "True",
                "ValidMetricFound",
                f"the HPA was able to successfully calculate a replica count from {best.why}",
            )
        return best

    def _bounded(self, hpa: Json, status: Json, current: int, wanted: int) -> int:
        """Stabilised over its window, held to its policies and limits."""
        key, now = (namespace_of(hpa), name_of(hpa)), clock.monotonic()
        behavior = hpa["spec"].get("behavior") or {}
        up, down = {**_UP, **(behavior.get("scaleUp") or {})}, {**_DOWN, **(behavior.get("scaleDown") or {})}
        window = down.get("stabilizationWindowSeconds", self.registry.settings.hpa_downscale_stabilization)
        advice = [*self._advice.get(key, []), (now, wanted)]
        lowest = min((n for when, n in advice if when >= now - up["stabilizationWindowSeconds"]), default=wanted)
        highest = max((n for when, n in advice if when >= now - window), default=wanted)
        self._advice[key] = [row for row in advice if row[0] >= now - max(window, up["stabilizationWindowSeconds"])]
        stable = min(max(current, lowest), highest)
        if stable != wanted:
            reason, word, most = (
                ("ScaleDownStabilized", "higher", "highest")
                if stable > wanted
                else ("ScaleUpStabilized", "lower", "lowest")
            )
            _set(
                status,
                "AbleToScale",
                "True",
                reason,
                f"recent recommendations were {word} than current one, applying the {most} recent recommendation",
            )
        else:
            _set(status, "AbleToScale", "True", "ReadyForNewScale", "recommended size matches current size")
        if stable > current:
            limit = self._policy_limit(key, up, current, now, sign=1)
            chosen = min(stable, limit, int(hpa["spec"]["maxReplicas"]))
            reason = "TooManyReplicas" if chosen == hpa["spec"]["maxReplicas"] else "ScaleUpLimit"
            return _limited(
                status,
                chosen,
                stable,
                reason,
                "more than the maximum replica count"
                if reason == "TooManyReplicas"
                else "increasing faster than the maximum scale rate",
            )
        limit = self._policy_limit(key, down, current, now, sign=-1)
        chosen = max(stable, limit, int(hpa["spec"].get("minReplicas", 1)))
        chosen = min(chosen, current)
        reason = "TooFewReplicas" if chosen == hpa["spec"].get("minReplicas", 1) else "ScaleDownLimit"
        return _limited(
            status,
            chosen,
            stable,
            reason,
            "less than the minimum replica count"
            if reason == "TooFewReplicas"
            else "decreasing faster than the maximum scale rate",
        )

    def _policy_limit(self, key: Key, rules: Json, current: int, now: float, *, sign: int) -> int:
        """How far the policies let the count move: from what it was at the start of each policy's period."""
        if rules.get("selectPolicy") == "Disabled":
            return current
        pick: Callable[[list[int]], int] = max if (rules.get("selectPolicy", "Max") == "Max") == (sign > 0) else min
        limits = []
        for policy in rules.get("policies") or []:
            moved = sum(
                delta
                for when, delta in self._changes.get(key, [])
                if when >= now - policy["periodSeconds"] and (delta > 0) == (sign > 0)
            )
            start = current - moved
            step = policy["value"] if policy["type"] == "Pods" else start * policy["value"] / 100
            limits.append(math.ceil(start + step) if sign > 0 else int(start - step))
        return pick(limits) if limits else current

    def _rescale(self, hpa: Json, status: Json, kind: Kind, target: Json, wanted: int, why: str) -> None:
        obj = scale.from_scale(kind, copy(target), {"spec": {"replicas": wanted}})
        before = int(scale.to_scale(kind, target)["spec"]["replicas"])
        self.registry.update(kind, namespace_of(hpa), name_of(target), obj)
        key = (namespace_of(hpa), name_of(hpa))
        now = clock.monotonic()
        recent = [row for row in self._changes.get(key, []) if row[0] > now - _LONGEST_PERIOD]
        self._changes[key] = [*recent, (now, wanted - before)]
        _set(
            status,
            "AbleToScale",
            "True",
            "SucceededRescale",
            f"the HPA controller was able to update the target scale to {wanted}",
        )
        status["lastScaleTime"] = times.stamp()
        self.recorder.normal(hpa, self.component, "SuccessfulRescale", f"New size: {wanted}; reason: {why}")


def _limited(status: Json, chosen: int, wanted: int, reason: str, why: str) -> int:
    if chosen == wanted:
        _set(
            status, "ScalingLimited", "False", "DesiredWithinRange", "the desired count is within the acceptable range"
        )
    else:
        _set(status, "ScalingLimited", "True", reason, f"the desired replica count is {why}")
    return chosen


def _set(status: Json, kind: str, value: str, reason: str, message: str) -> None:
    before: Any = condition_of({"status": status}, kind)
    since = before["lastTransitionTime"] if before and before["status"] == value else times.stamp()
    row = {"type": kind, "status": value, "lastTransitionTime": since, "reason": reason, "message": message}
    rest = [other for other in status.get("conditions") or [] if other["type"] != kind]
    status["conditions"] = [*rest, row]
