"""LeaderWorkerSets: groups of one leader and its workers that live, restart and roll together.

As in the real one, the leaders are a StatefulSet, each leader pod owns the StatefulSet of its workers, and deleting the
leader in the foreground takes the whole group with it.
"""

from __future__ import annotations

from drillbook.sandbox.control import lwsgroups as groups
from drillbook.sandbox.control import quantity, times
from drillbook.sandbox.control.controllers import podset, revisions
from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.objects import (
    Json,
    copy,
    dig,
    is_controlled_by,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    uid_of,
)
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

_SETS = "statefulsets.apps"


class LeaderWorkerSets(Controller):
    resource = "leaderworkersets.leaderworkerset.x-k8s.io"
    component = "leaderworkerset"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self._kind = registry.kinds.of_resource(self.resource)
        self._sets = registry.kinds.of_resource(_SETS)
        self._pods = registry.kinds.of_resource("pods")
        self._lost: dict[Key, list[Json]] = {}
        for resource in ("pods", _SETS):
            self.store.listen(resource, self._on_part)

    def _on_part(self, change: Change) -> None:
        owner = labels_of(change.obj).get(groups.NAME)
        if owner is None:
            return
        key = (namespace_of(change.obj), owner)
        if change.resource == "pods" and (
            change.type == "DELETED" or is_deleting(change.obj) or _restarts(change.obj) > 0
        ):
            self._lost.setdefault(key, []).append(change.obj)
        self.enqueue(key)

    def _restart_group(self, owner: Json, pod: Json) -> None:
        """One pod lost is the group lost, unless the policy says otherwise."""
        policy = dig(owner, "spec", "leaderWorkerTemplate", "restartPolicy")
        group = labels_of(pod).get(groups.GROUP)
        leader = self.registry.find("pods", namespace_of(pod), f"{name_of(owner)}-{group}")
        if leader is None or is_deleting(leader) or labels_of(leader).get(groups.KEY) != labels_of(pod).get(groups.KEY):
            return
        if not self._is_of_group(pod, leader):
            return
        if policy in ("None", "Default") or (policy == "RecreateGroupAfterStart" and not podset.is_ready(leader)):
            return
        if int(labels_of(leader)[groups.GROUP]) >= int(owner["spec"]["replicas"]):
            return
        self.recorder.normal(
            owner,
            self.component,
            "RecreateGroupOnPodRestart",
            f"Worker pod {name_of(pod)} failed, deleted leader pod {name_of(leader)} to recreate group {group}",
        )
        self.registry.delete(self._pods, namespace_of(pod), name_of(leader), DeleteOptions(propagation="Foreground"))

    def _is_of_group(self, pod: Json, leader: Json) -> bool:
        """Whether the pod belongs to this very leader.

        Pods of a former group have the same names and keys, and word of their end may come when the new leader is up.
        """
        if labels_of(pod).get(groups.WORKER) == "0":
            return uid_of(pod) == uid_of(leader)
        workers = self.registry.find(_SETS, namespace_of(leader), name_of(leader))
        return workers is not None and is_controlled_by(workers, leader) and is_controlled_by(pod, workers)

    def reconcile(self, namespace: str, name: str) -> float | None:
        owner = self.registry.find(self.resource, namespace, name)
        if owner is None or is_deleting(owner):
            return None
        for pod in self._lost.pop((namespace, name), ()):
            self._restart_group(owner, pod)
        template = owner["spec"]["leaderWorkerTemplate"]
        revision = revisions.current(self.registry, owner, {"spec": {"leaderWorkerTemplate": template}})
        hashed = labels_of(revision)["controller.kubernetes.io/hash"]
        leaders = {
            int(labels_of(pod)[groups.GROUP]): pod
            for pod in self.store.objects("pods", namespace)
            if labels_of(pod).get(groups.NAME) == name and labels_of(pod).get(groups.WORKER) == "0"
        }
        ready = {index for index, pod in leaders.items() if self._is_group_ready(owner, pod)}
        updated = {index for index, pod in leaders.items() if labels_of(pod).get(groups.REVISION) == hashed}
        self._write_service(owner)
        self._write_leaders(owner, hashed, ready & updated)
        for pod in leaders.values():
            if not is_deleting(pod) and int(template["size"]) > 1:
                self._write_workers(owner, pod)
        self._write_status(owner, leaders, ready, updated)
        return None

    def _is_group_ready(self, owner: Json, leader: Json) -> bool:
        if not podset.is_ready(leader) or is_deleting(leader):
            return False
        size = int(owner["spec"]["leaderWorkerTemplate"]["size"])
        workers = self.registry.find(_SETS, namespace_of(leader), name_of(leader))
        return size == 1 or (
            workers is not None
            and is_controlled_by(workers, leader)
            and dig(workers, "status", "readyReplicas", default=0) == size - 1
        )

    def _write_service(self, owner: Json) -> None:
        if self.registry.find("services", namespace_of(owner), name_of(owner)) is None:
            self.registry.create(
                self.registry.kinds.of_resource("services"),
                namespace_of(owner),
                {
                    "metadata": {"name": name_of(owner), "ownerReferences": [owner_reference(owner)]},
                    "spec": {
                        "clusterIP": "None",
                        "publishNotReadyAddresses": True,
                        "selector": {groups.NAME: name_of(owner)},
                    },
                },
            )

    def _write_leaders(self, owner: Json, hashed: str, done: set[int]) -> None:
        """The leaders' StatefulSet; its partition lets as many groups roll as may be unavailable."""
        spec = owner["spec"]
        template = spec["leaderWorkerTemplate"]
        count = int(spec["replicas"])
        rolling = dig(spec, "rolloutStrategy", "rollingUpdateConfiguration", default={})
        room = max(1, quantity.of_share(rolling.get("maxUnavailable", 1), count, up=True))
        finished = next((number for number in range(count) if count - 1 - number not in done), count)
        partition = max(int(rolling.get("partition", 0)), count - finished - room, 0)
        labels = {groups.NAME: name_of(owner), groups.WORKER: "0", groups.REVISION: hashed}
        content = {
            "replicas": count, "serviceName": name_of(owner), "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {groups.NAME: name_of(owner), groups.WORKER: "0"}},
            "updateStrategy": {"type": "RollingUpdate",
                               "rollingUpdate": {"partition": partition, "maxUnavailable": room}},
            "template": _template(template.get("leaderTemplate") or template["workerTemplate"], labels,
                                  {groups.SIZE: str(template["size"])}),
        }  # fmt: skip
        self._write_set(owner, name_of(owner), labels, content)

    def _write_workers(self, owner: Json, leader: Json) -> None:
        if owner["spec"].get("startupPolicy") == "LeaderReady" and not podset.is_ready(leader):
            return
        found = self.registry.find(_SETS, namespace_of(leader), name_of(leader))
        if found is not None:
            return  # a group keeps its workers for life; a new template makes a new group
        template = self._template_of_group(owner, leader)
        labels = {key: labels_of(leader)[key] for key in (groups.NAME, groups.GROUP, groups.KEY, groups.REVISION)}
        selector = {key: labels[key] for key in (groups.NAME, groups.GROUP, groups.KEY)}
        content = {
            "replicas": int(template["size"]) - 1, "serviceName": name_of(owner), "podManagementPolicy": "Parallel",
            "ordinals": {"start": 1}, "selector": {"matchLabels": selector},
            "template": _template(template["workerTemplate"], labels,
                                  {groups.SIZE: str(template["size"]), groups.LEADER: name_of(leader)}),
        }  # fmt: skip
        self._write_set(leader, name_of(leader), labels, content)

    def _template_of_group(self, owner: Json, leader: Json) -> Json:
        hashed = labels_of(leader).get(groups.REVISION)
        row = next(
            (
                row
                for row in revisions.history(self.registry, owner)
                if labels_of(row)["controller.kubernetes.io/hash"] == hashed
            ),
            None,
        )
        result: Json = (row["data"] if row else owner)["spec"]["leaderWorkerTemplate"]
        return result

    def _write_set(self, owner: Json, name: str, labels: dict[str, str], content: Json) -> None:
        found = self.registry.find(_SETS, namespace_of(owner), name)
        if found is None:
            self.registry.create(
                self._sets,
                namespace_of(owner),
                {
                    "metadata": {"name": name, "labels": dict(labels), "ownerReferences": [owner_reference(owner)]},
                    "spec": copy(content),
                },
            )
        else:
            self.registry.modify(
                self._sets, namespace_of(owner), name, lambda fresh: fresh["spec"].update(copy(content))
            )

    def _write_status(self, owner: Json, leaders: dict[int, Json], ready: set[int], updated: set[int]) -> None:
        wanted = int(owner["spec"]["replicas"])
        done = len(ready & updated) == wanted == len(leaders)
        rows = [
            ("Available", done, "AllGroupsReady", "All replicas are ready"),
            ("Progressing", not done, "GroupsProgressing", "Replicas are progressing"),
            ("UpdateInProgress", len(updated) < len(leaders), "GroupsUpdating", "Rolling Upgrade is in progress"),
        ]
        before = {row["type"]: row for row in dig(owner, "status", "conditions", default=[])}
        conditions = []
        for kind, value, reason, message in rows:
            text = str(value)
            old = before.get(kind)
            since = old["lastTransitionTime"] if old and old["status"] == text else times.stamp()
            conditions.append(
                {"type": kind, "status": text, "reason": reason, "message": message, "lastTransitionTime": since}
            )
        status: Json = {
            "replicas": len(leaders), "readyReplicas": len(ready), "updatedReplicas": len(updated),
            "hpaPodSelector": f"{groups.NAME}={name_of(owner)},{groups.WORKER}=0", "conditions": conditions,
        }  # fmt: skip
        if status != owner.get("status"):
            self.registry.modify(
                self._kind, namespace_of(owner), name_of(owner), lambda fresh: fresh.update(status=status), "status"
            )


def _template(source: Json, labels: dict[str, str], annotations: dict[str, str]) -> Json:
    template = copy(source)
    metadata = template.setdefault("metadata", {})
    metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return template


def _restarts(pod: Json) -> int:
    return sum(
        int(row.get("restartCount", 0))
        for field in ("containerStatuses", "initContainerStatuses")
        for row in dig(pod, "status", field, default=[])
    )
