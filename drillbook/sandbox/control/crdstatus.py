"""What a CustomResourceDefinition's status says from its first moment: nothing here takes time to establish."""

from __future__ import annotations

from drillbook.sandbox.control.objects import Json


def established(definition: Json) -> Json:
    """The status that says that the names are accepted and the resource is served."""
    now = definition["metadata"]["creationTimestamp"]
    rows = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    names = definition["spec"]["names"]
    return {
        "acceptedNames": names,
        "storedVersions": [row["name"] for row in definition["spec"]["versions"]],
        "conditions": [
            {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": now}
            for kind, reason, message in rows
        ],
    }
