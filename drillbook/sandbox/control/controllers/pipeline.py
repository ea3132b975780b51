"""A release pipeline, for Deployments that ask for one: ``kubectl rollout status || kubectl rollout undo``.

Kubernetes takes no Deployment back by itself; this is what users put in front of it. It acts once per release, when the
progress deadline is exceeded, and watches no undo of its own.
"""

from __future__ import annotations

from drillbook.sandbox.control.controllers import progress
from drillbook.sandbox.control.controllers.controller import Controller
from drillbook.sandbox.control.controllers.deployments import revision_of, without_hash
from drillbook.sandbox.control.objects import (
    Json,
    annotations_of,
    condition_of,
    dig,
    is_deleting,
    name_of,
)

ASKED = "drillbook.io/undo-after"
"""The annotation that asks for it; its value is ``progress-deadline``."""
_RESTORED = "drillbook.io/undone-to"
_SETS = "replicasets.apps"


class ReleasePipeline(Controller):
    resource = "deployments.apps"
    component = "release-pipeline"

    def reconcile(self, namespace: str, name: str) -> float | None:
        deployment = self.registry.find(self.resource, namespace, name)
        if deployment is None or is_deleting(deployment) or not _has_failed(deployment):
            return None
        sets = sorted(self.own(deployment, _SETS), key=revision_of)
        now = without_hash(deployment["spec"]["template"])
        present = next((row for row in sets if without_hash(row["spec"]["template"]) == now), None)
        former = next((row for row in reversed(sets) if row is not present), None)
        if present is None or former is None or annotations_of(deployment).get(_RESTORED) == name_of(present):
            return None

        def restore(fresh: Json) -> None:
            fresh["spec"]["template"] = without_hash(former["spec"]["template"])
            fresh["metadata"].setdefault("annotations", {})[_RESTORED] = name_of(former)

        self.registry.modify(self.registry.kinds.of_resource(self.resource), namespace, name, restore)
        message = f"Rolled back deployment {name} to revision {revision_of(former)}: {progress.LATE}"
        self.recorder.normal(deployment, self.component, "DeploymentRollback", message)
        return None


def _has_failed(deployment: Json) -> bool:
    """Whether the release that is asked for now made no progress in time."""
    condition: Json = condition_of(deployment, "Progressing") or {}
    seen = dig(deployment, "status", "observedGeneration", default=0) == deployment["metadata"].get("generation", 1)
    asked = annotations_of(deployment).get(ASKED) == "progress-deadline"
    return asked and seen and condition.get("reason") == progress.LATE
