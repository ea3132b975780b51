"""The fields of the kinds that the sandbox serves, taken from the official client's models.

    python tests/support/field_table.py > drillbook/sandbox/control/fields.jsonl

One line a type: its name and its fields, each with the type of the field's objects: ``T``, ``[T`` a list of them,
``{T`` a map of them, and nothing where any value will do.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

_CONTAINERS = {"List": "[", "Dict": "{"}
_OF_NO_CLIENT: dict[str, dict[str, str]] = {
    "leaderworkerset.x-k8s.io/v1/LeaderWorkerSet": {
        "apiVersion": "",
        "kind": "",
        "metadata": "V1ObjectMeta",
        "spec": "LeaderWorkerSetSpec",
        "status": "LeaderWorkerSetStatus",
    },
    "LeaderWorkerSetSpec": {
        "leaderWorkerTemplate": "LeaderWorkerTemplate",
        "networkConfig": "LeaderWorkerSetNetworkConfig",
        "replicas": "",
        "rolloutStrategy": "LeaderWorkerSetRolloutStrategy",
        "startupPolicy": "",
    },
    "LeaderWorkerTemplate": {
        "leaderTemplate": "V1PodTemplateSpec",
        "persistentVolumeClaimRetentionPolicy": "V1StatefulSetPersistentVolumeClaimRetentionPolicy",
        "restartPolicy": "",
        "size": "",
        "subGroupPolicy": "LeaderWorkerSetSubGroupPolicy",
        "volumeClaimTemplates": "[V1PersistentVolumeClaim",
        "workerTemplate": "V1PodTemplateSpec",
    },
    "LeaderWorkerSetSubGroupPolicy": {"subGroupPolicyType": "", "subGroupSize": ""},
    "LeaderWorkerSetNetworkConfig": {"subdomainPolicy": ""},
    "LeaderWorkerSetRolloutStrategy": {"rollingUpdateConfiguration": "LeaderWorkerSetRollingUpdate", "type": ""},
    "LeaderWorkerSetRollingUpdate": {"maxSurge": "", "maxUnavailable": "", "partition": ""},
    "LeaderWorkerSetStatus": {
        "conditions": "[V1Condition",
        "hpaPodSelector": "",
        "observedGeneration": "",
        "readyReplicas": "",
        "replicas": "",
        "updatedReplicas": "",
    },
}
"""LeaderWorkerSet's, as of its v0.7 (https://lws.sigs.k8s.io/docs/reference/leaderworkerset.v1/)."""


def rows() -> list[tuple[str, dict[str, str]]]:
    """The types that the built-in kinds need, sorted by name; the kinds themselves are ``apps/v1/Deployment``."""
    from kubernetes.client import models

    from drillbook.sandbox.control.builtin_kinds import KINDS

    found: dict[str, dict[str, str]] = {}

    def fields_of(model: Any) -> dict[str, str]:
        return {model.attribute_map[name]: typed(text) for name, text in sorted(model.openapi_types.items())}

    def typed(text: str) -> str:
        container = re.match(r"(List|Dict)\[", text)
        name = re.findall(r"\w+", text)[-1]
        if not hasattr(getattr(models, name, None), "attribute_map"):
            return ""
        if name not in found:
            found[name] = {}  # types refer to themselves
            found[name] = fields_of(getattr(models, name))
        return (_CONTAINERS[container[1]] if container else "") + name

    for kind in KINDS:
        prefix = {"events.k8s.io": "EventsV1", "": "CoreV1"}.get(kind.group, "") if kind.kind == "Event" else ""
        model = getattr(models, f"{prefix or kind.version.capitalize()}{kind.kind}", None)
        if model is not None:
            found[f"{kind.api_version}/{kind.kind}"] = fields_of(model)
    return sorted((found | _OF_NO_CLIENT).items())


if __name__ == "__main__":
    for name, fields in rows():
        sys.stdout.write(f"{json.dumps([name, fields], separators=(',', ':'))}\n")
