"""DaemonSets: one pod on every node that suits it."""

from __future__ import annotations

from drillbook.sandbox.control import quantity
from drillbook.sandbox.control.controllers import fit, podset, revisions
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import Json, dig, is_deleting, name_of, namespace_of
from drillbook.sandbox.control.registry import Registry, key_of
from drillbook.sandbox.control.store import Change

_TOLERATIONS: tuple[Json, ...] = tuple(
    {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": effect}
    for key, effect in (
        ("not-ready", "NoExecute"),
        ("unreachable", "NoExecute"),
        ("disk-pressure", "NoSchedule"),
        ("memory-pressure", "NoSchedule"),
        ("pid-pressure", "NoSchedule"),
        ("unschedulable", "NoSchedule"),
    )
)


class DaemonSets(Controller):
    resource = "daemonsets.apps"
    component = "daemonset-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._pods = registry.kinds.of_resource("pods")
        self.owner_listener("DaemonSet")
        self.store.listen("nodes", self._on_node)

    def _on_node(self, change: Change) -> None:
        before = change.previous.obj if change.previous is not None else {}
        if (
            change.type != "MODIFIED"
            or dig(before, "spec") != change.obj.get("spec")
            or dig(before, "metadata", "labels") != dig(change.obj, "metadata", "labels")
        ):
            for owner in self.store.objects(self.resource):
                self.enqueue(key_of(owner))

    def reconcile(self, namespace: str, name: str) -> float | None:
        owner = self.registry.find(self.resource, namespace, name)
        if owner is None:
            return None
        newest = revisions.current(self.registry, owner, revisions.template_data(owner["spec"]["template"]))
        pods: dict[str, list[Json]] = {}
        for pod in podset.claim(self.registry, owner, "pods"):
            pods.setdefault(_node_of(pod), []).append(pod)
        template = _with_tolerations(owner["spec"]["template"])
        nodes = {name_of(node): node for node in self.store.objects("nodes")}
        suited = {key for key, node in nodes.items() if _suits(template, node, ("NoSchedule", "NoExecute"))}
        if not is_deleting(owner):
            for node in sorted(suited):
                self._fill(owner, template, node, pods.get(node, []), newest)
            for node, rows in pods.items():
                if node in nodes and not _suits(template, nodes[node], ("NoExecute",)):
                    self._delete(owner, [pod for pod in rows if not is_deleting(pod)])
            self._update(owner, pods, suited, newest)
        return self._write_status(owner, suited, newest)

    def _fill(self, owner: Json, template: Json, node: str, rows: list[Json], newest: Json) -> None:
        self._delete(
            owner,
            [pod for pod in rows if dig(pod, "status", "phase") in ("Failed", "Succeeded") and not is_deleting(pod)],
        )
        if rows:
            return
        pod = podset.pod_of(
            template,
            owner,
            labels={
                revisions.HASH: dig(newest, "metadata", "labels", "controller.kubernetes.io/hash"),
                "pod-template-generation": str(owner["metadata"].get("generation", 1)),
            },
        )
        pod["spec"].setdefault("affinity", {})["nodeAffinity"] = {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}]
            }
        }
        made = self.registry.create(self._pods, namespace_of(owner), pod).obj
        self.recorder.normal(owner, self.component, "SuccessfulCreate", f"Created pod: {name_of(made)}")

    def _delete(self, owner: Json, pods: list[Json]) -> None:
        for pod in pods:
            self.registry.delete(self._pods, namespace_of(pod), name_of(pod))
            self.recorder.normal(owner, self.component, "SuccessfulDelete", f"Deleted pod: {name_of(pod)}")

    def _update(self, owner: Json, pods: dict[str, list[Json]], suited: set[str], newest: Json) -> None:
        """Replace old pods, never more than maxUnavailable at once."""
        strategy = owner["spec"]["updateStrategy"]
        if strategy["type"] != "RollingUpdate":
            return
        most = dig(strategy, "rollingUpdate", "maxUnavailable", default=1)
        room = max(1, quantity.of_share(most, len(suited), up=True))
        hashed = dig(newest, "metadata", "labels", "controller.kubernetes.io/hash")
        room -= sum(
            1 for node in suited if not any(podset.is_ready(pod) and not is_deleting(pod) for pod in pods.get(node, []))
        )
        old = [
            pod
            for node in suited
            for pod in pods.get(node, [])
            if revisions.name_in(pod) != hashed and not is_deleting(pod)
        ]
        sick = [pod for pod in old if not podset.is_ready(pod)]
        self._delete(owner, sick + [pod for pod in old if podset.is_ready(pod)][: max(0, room)])

    def _write_status(self, owner: Json, suited: set[str], newest: Json) -> float | None:
        rows = [pod for pod in self.own(owner, "pods") if not is_deleting(pod)]
        here = [pod for pod in rows if _node_of(pod) in suited]
        hashed = dig(newest, "metadata", "labels", "controller.kubernetes.io/hash")
        available, again = podset.count_available(here, int(owner["spec"].get("minReadySeconds", 0)))
        status: Json = {
            "currentNumberScheduled": len(here), "numberMisscheduled": len(rows) - len(here),
            "desiredNumberScheduled": len(suited), "numberReady": sum(1 for pod in here if podset.is_ready(pod)),
            "observedGeneration": owner["metadata"].get("generation", 1),
            "updatedNumberScheduled": sum(1 for pod in here if revisions.name_in(pod) == hashed),
            "numberAvailable": available, "numberUnavailable": len(suited) - available,
        }  # fmt: skip
        if status != owner.get("status"):
            self.registry.modify(
                self._kind, namespace_of(owner), name_of(owner), lambda fresh: fresh.update(status=status), "status"
            )
        return again


def _with_tolerations(template: Json) -> Json:
    spec = {**template["spec"], "tolerations": [*(template["spec"].get("tolerations") or []), *_TOLERATIONS]}
    return {**template, "spec": spec}


def _suits(template: Json, node: Json, effects: tuple[str, ...]) -> bool:
    pod = {"metadata": {}, "spec": template["spec"]}
    return fit.matches_node(pod, node) and fit.untolerated(pod, node, effects) is None


def _node_of(pod: Json) -> str:
    """Where the pod is, or is meant to be."""
    found = dig(pod, "spec", "nodeName") or dig(
        pod,
        "spec",
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms",
        0,
        "matchFields",
        0,
        "values",
        0,
        default="",
    )
    return str(found)
