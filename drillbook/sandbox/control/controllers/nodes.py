"""Node life: a node whose lease goes stale is no longer ready, and its state shows as taints.

The staleness is counted by our own clock from the last renewal that we saw, never by comparing wall clocks.
"""

from __future__ import annotations

from drillbook import clock
from drillbook.sandbox.control import times
from drillbook.sandbox.control.controllers import podset
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.objects import (
    Json,
    condition_of,
    copy,
    dig,
    is_condition_true,
    name_of,
    namespace_of,
)
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

_LEASES = "leases.coordination.k8s.io"
_PREFIX = "node.kubernetes.io/"
NOT_READY, UNREACHABLE, UNSCHEDULABLE = _PREFIX + "not-ready", _PREFIX + "unreachable", _PREFIX + "unschedulable"
_PRESSURES = {
    "MemoryPressure": _PREFIX + "memory-pressure",
    "DiskPressure": _PREFIX + "disk-pressure",
    "PIDPressure": _PREFIX + "pid-pressure",
    "NetworkUnavailable": _PREFIX + "network-unavailable",
}
_OURS = frozenset({NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURES.values()})


class NodeLifecycle(Controller):
    resource = "nodes"
    component = "node-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource("nodes")
        self._pods = registry.kinds.of_resource("pods")
        self._seen: dict[str, float] = {}
        self.store.listen(_LEASES, self._on_lease)

    def _on_lease(self, change: Change) -> None:
        if change.type != "DELETED" and namespace_of(change.obj) == "kube-node-lease":
            self._seen[name_of(change.obj)] = clock.monotonic()

    def _on_own_change(self, change: Change) -> None:
        name = name_of(change.obj)
        before = condition_of(change.previous.obj, "Ready") if change.previous is not None else None
        now = condition_of(change.obj, "Ready")
        if change.type == "DELETED":
            self._seen.pop(name, None)
        elif dig(now, "lastHeartbeatTime") != dig(before, "lastHeartbeatTime") or change.type == "ADDED":
            self._seen[name] = clock.monotonic()
        if dig(now, "status") != dig(before, "status"):
            for node in self.store.objects("nodes"):  # the last ready node makes the difference for all others
                self.enqueue(("", name_of(node)))
        super()._on_own_change(change)

    def reconcile(self, namespace: str, name: str) -> float | None:
        node = self.registry.find("nodes", "", name)
        if node is None:
            return None
        left = (
            self._seen.setdefault(name, clock.monotonic())
            + self.registry.settings.node_monitor_grace_period
            - clock.monotonic()
        )
        ready = condition_of(node, "Ready")
        if left <= 0 and (ready is None or ready["status"] != "Unknown"):
            node = self._lose(node)
        self._write_taints(node)
        if not is_condition_true(node, "Ready"):
            self._mark_pods(node)
        return max(left, 0.01) if left > 0 else self.registry.settings.node_monitor_grace_period

    def _lose(self, node: Json) -> Json:
        """The kubelet is silent: nobody knows how this node is."""
        now = times.stamp()
        rows = [dict(row) for row in dig(node, "status", "conditions", default=[])]
        if not any(row["type"] == "Ready" for row in rows):
            rows.append({"type": "Ready", "status": ""})
        for row in rows:
            if row["type"] == "Ready" or row["type"] in _PRESSURES:
                moved = row["status"] != "Unknown"
                row |= {
                    "status": "Unknown",
                    "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.",
                }
                row |= {"lastTransitionTime": now} if moved else {}
        self.recorder.normal(node, self.component, "NodeNotReady", f"Node {name_of(node)} status is now: NodeNotReady")
        return self.registry.modify(
            self._kind, "", name_of(node), lambda fresh: fresh["status"].update(conditions=rows), "status"
        ).obj

    def _write_taints(self, node: Json) -> None:
        wanted = self._wanted_taints(node)
        present = dig(node, "spec", "taints", default=[])
        kept = [row for row in present if row["key"] not in _OURS]
        for key, effect in wanted:
            same = next((row for row in present if (row["key"], row["effect"]) == (key, effect)), None)
            kept.append(same or {"key": key, "effect": effect, "timeAdded": times.stamp()})
        if kept != present and not (not kept and not present):

            def change(fresh: Json) -> None:
                fresh["spec"]["taints"] = copy({"taints": kept})["taints"]
                if not kept:
                    del fresh["spec"]["taints"]

            self.registry.modify(self._kind, "", name_of(node), change)

    def _wanted_taints(self, node: Json) -> list[tuple[str, str]]:
        found = []
        ready = (condition_of(node, "Ready") or {}).get("status", "False")
        if ready != "True":
            key = UNREACHABLE if ready == "Unknown" else NOT_READY
            found.append((key, "NoSchedule"))
            if any(is_condition_true(other, "Ready") for other in self.store.objects("nodes")):
                # with every node lost the fault is likelier ours than theirs, and nothing is evicted
                found.append((key, "NoExecute"))
        if dig(node, "spec", "unschedulable"):
            found.append((UNSCHEDULABLE, "NoSchedule"))
        return found + [(key, "NoSchedule") for kind, key in _PRESSURES.items() if is_condition_true(node, kind)]

    def _mark_pods(self, node: Json) -> None:
        for pod in self.store.objects("pods"):
            if dig(pod, "spec", "nodeName") != name_of(node) or not podset.is_ready(pod):
                continue

            def change(fresh: Json) -> None:
                row = condition_of(fresh, "Ready")
                if row is not None:
                    row |= {"status": "False", "lastTransitionTime": times.stamp()}

            self.registry.modify(self._pods, namespace_of(pod), name_of(pod), change, "status")
            self.recorder.warning(pod, self.component, "NodeNotReady", "Node is not ready")
