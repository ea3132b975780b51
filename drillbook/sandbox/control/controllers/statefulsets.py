"""StatefulSets: pods with names and an order."""

from __future__ import annotations

from drillbook.sandbox.control.controllers import podset, revisions
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, dig, is_deleting, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry


class StatefulSets(Controller):
    resource = "statefulsets.apps"
    component = "statefulset-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._pods = registry.kinds.of_resource("pods")
        self.owner_listener("StatefulSet")

    def reconcile(self, namespace: str, name: str) -> float | None:
        owner = self.registry.find(self.resource, namespace, name)
        if owner is None:
            return None
        spec = owner["spec"]
        newest = revisions.current(self.registry, owner, revisions.template_data(spec["template"]))
        current = self._current(owner, newest)
        pods = {_ordinal(pod): pod for pod in podset.claim(self.registry, owner, "pods") if _ordinal(pod) >= 0}
        if not is_deleting(owner):
            first = int(dig(spec, "ordinals", "start", default=0))
            wanted = range(first, first + int(spec["replicas"]))
            settled = self._scale(owner, pods, wanted, newest, current)
            if settled:
                self._update(owner, pods, wanted, newest)
            pods = {_ordinal(pod): pod for pod in self.own(owner, "pods")}
        again = self._write_status(owner, pods, newest, current)
        revisions.forget(
            self.registry,
            owner,
            {revisions.name_in(pod) for pod in pods.values()} | {name_of(newest), name_of(current)},
            spec.get("revisionHistoryLimit", 10),
        )
        return again

    def _current(self, owner: Json, newest: Json) -> Json:
        """The revision from which an update under way started."""
        wanted = dig(owner, "status", "currentRevision")
        return next((row for row in revisions.history(self.registry, owner) if name_of(row) == wanted), newest)

    def _scale(self, owner: Json, pods: dict[int, Json], wanted: range, newest: Json, current: Json) -> bool:
        """Make what is missing and delete what is too much; False while an ordered set waits for one of its pods."""
        ordered = owner["spec"].get("podManagementPolicy") != "Parallel"
        partition = int(dig(owner, "spec", "updateStrategy", "rollingUpdate", "partition", default=0))
        for ordinal in wanted:
            pod = pods.get(ordinal)
            if pod is not None and dig(pod, "status", "phase") in ("Failed", "Succeeded") and not is_deleting(pod):
                self.registry.delete(self._pods, namespace_of(pod), name_of(pod))
                return False
            if pod is None:
                self._create(owner, ordinal, current if ordinal < wanted.start + partition else newest)
            if ordered and (pod is None or is_deleting(pod) or not self._is_available(owner, pod)):
                return False
        for ordinal in sorted((number for number in pods if number not in wanted), reverse=True):
            pod = pods[ordinal]
            if not is_deleting(pod):
                self.registry.delete(self._pods, namespace_of(pod), name_of(pod))
                self.recorder.normal(
                    owner,
                    self.component,
                    "SuccessfulDelete",
                    f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful",
                )
            if ordered:
                return False
        return all(number in pods for number in wanted)

    def _is_available(self, owner: Json, pod: Json) -> bool:
        return podset.available_in(pod, int(owner["spec"].get("minReadySeconds", 0))) == 0

    def _create(self, owner: Json, ordinal: int, revision: Json) -> None:
        name = f"{name_of(owner)}-{ordinal}"
        labels = {
            "statefulset.kubernetes.io/pod-name": name,
            "apps.kubernetes.io/pod-index": str(ordinal),
            revisions.HASH: name_of(revision),
        }
        pod = podset.pod_of(revisions.template_of(revision), owner, name=name, labels=labels)
        pod["spec"]["hostname"] = name
        if owner["spec"].get("serviceName"):
            pod["spec"].setdefault("subdomain", owner["spec"]["serviceName"])
        self.registry.create(self._pods, namespace_of(owner), pod)
        self.recorder.normal(
            owner, self.component, "SuccessfulCreate", f"create Pod {name} in StatefulSet {name_of(owner)} successful"
        )

    def _update(self, owner: Json, pods: dict[int, Json], wanted: range, newest: Json) -> None:
        """Replace pods of an older revision, the highest ordinal first, one after the other."""
        strategy = owner["spec"]["updateStrategy"]
        if strategy["type"] != "RollingUpdate":
            return
        partition = wanted.start + int(dig(strategy, "rollingUpdate", "partition", default=0))
        room = int(dig(strategy, "rollingUpdate", "maxUnavailable", default=1))
        for ordinal in reversed(wanted):
            pod = pods[ordinal]
            if is_deleting(pod) or not self._is_available(owner, pod):
                room -= 1
            if ordinal >= partition and revisions.name_in(pod) != name_of(newest) and not is_deleting(pod):
                self.registry.delete(self._pods, namespace_of(pod), name_of(pod))
                self.recorder.normal(
                    owner,
                    self.component,
                    "SuccessfulDelete",
                    f"delete Pod {name_of(pod)} in StatefulSet {name_of(owner)} successful",
                )
                room -= 1
            if room <= 0:
                return

    def _write_status(self, owner: Json, pods: dict[int, Json], newest: Json, current: Json) -> float | None:
        rows = list(pods.values())
        updated = sum(1 for pod in rows if revisions.name_in(pod) == name_of(newest) and not is_deleting(pod))
        ready = [pod for pod in rows if podset.is_ready(pod)]
        available, again = podset.count_available(rows, int(owner["spec"].get("minReadySeconds", 0)))
        if updated == int(owner["spec"]["replicas"]) == len(ready) == len(rows):
            current = newest
        on_current = sum(1 for pod in rows if revisions.name_in(pod) == name_of(current) and not is_deleting(pod))
        status: Json = {
            "replicas": len(rows), "availableReplicas": available, "readyReplicas": len(ready),
            "currentReplicas": on_current, "updatedReplicas": updated, "currentRevision": name_of(current),
            "updateRevision": name_of(newest), "collisionCount": 0,
            "observedGeneration": owner["metadata"].get("generation", 1),
        }  # fmt: skip
        if status != owner.get("status"):
            self.registry.modify(
                self._kind, namespace_of(owner), name_of(owner), lambda fresh: fresh.update(status=status), "status"
            )
        return again


def _ordinal(pod: Json) -> int:
    """-1 where the name has none."""
    text = name_of(pod).rpartition("-")[2]
    return int(text) if text.isdigit() else -1
