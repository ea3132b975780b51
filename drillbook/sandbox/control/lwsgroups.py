"""LeaderWorkerSet's labels, and what its admission webhook writes into each pod: who it is and where its leader is."""

from __future__ import annotations

import hashlib

from drillbook.sandbox.control.objects import Json, annotations_of, labels_of, name_of, namespace_of

_PREFIX = "leaderworkerset.sigs.k8s.io/"
NAME, GROUP, WORKER = _PREFIX + "name", _PREFIX + "group-index", _PREFIX + "worker-index"
KEY, REVISION = _PREFIX + "group-key", _PREFIX + "template-revision-hash"
SIZE, LEADER = _PREFIX + "size", _PREFIX + "leader-name"


def group_key(namespace: str, leader: str) -> str:
    """The label that all pods of one group share."""
    return hashlib.sha1(f"{namespace}/{leader}".encode(), usedforsecurity=False).hexdigest()


def admit(pod: Json) -> None:
    """Complete, in place, a pod of a LeaderWorkerSet; leave any other alone."""
    labels = labels_of(pod)
    owner = labels.get(NAME)
    if owner is None:
        return
    prefix, _, ordinal = name_of(pod).rpartition("-")
    annotations = annotations_of(pod)
    if labels.get(WORKER) == "0":
        labels.setdefault(GROUP, ordinal)
        labels.setdefault(KEY, group_key(namespace_of(pod), name_of(pod)))
        leader = name_of(pod)
    else:
        labels[WORKER] = ordinal
        leader = annotations.get(LEADER, prefix)
    address = f"{leader}.{owner}.{namespace_of(pod)}"
    variables = [
        {"name": "LWS_LEADER_ADDRESS", "value": address},
        {"name": "LWS_GROUP_SIZE", "value": annotations.get(SIZE, "1")},
        {"name": "LWS_WORKER_INDEX", "value": labels[WORKER]},
    ]
    for container in [*(pod["spec"].get("containers") or []), *(pod["spec"].get("initContainers") or [])]:
        present = {row["name"] for row in container.get("env") or []}
        container["env"] = [row for row in variables if row["name"] not in present] + (container.get("env") or [])
