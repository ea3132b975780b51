"""The checks of an object that people run into: required fields, selectors that match, fields that may not change.

A real API server knows every field's rules; this one knows those whose breach would make a drill lie.
"""

from __future__ import annotations

import re

from drillbook.sandbox.control import quantity, selectors, statuses
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, dig, name_of

Cause = tuple[str, str, str]

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character"
)
_POD_RULE = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to "
    "existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was "
    "previously negative)"
)
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_WORKLOADS = frozenset({"deployments.apps", "replicasets.apps", "statefulsets.apps", "daemonsets.apps"})
_FREE_NAMES = frozenset({"rbac.authorization.k8s.io"})
_POD_MUTABLE = frozenset(
    {
        "activeDeadlineSeconds",
        "tolerations",
        "terminationGracePeriodSeconds",
        "nodeName",
        "ephemeralContainers",
        "schedulingGates",
    }
)


def check(kind: Kind, new: Json, old: Json | None) -> None:
    """Raises ApiError 422 with every cause."""
    causes = [*_metadata(kind, new)]
    if kind.resource in _WORKLOADS:
        causes += _workload(new, old)
    elif kind.resource == "pods":
        causes += _pod_spec(new.get("spec"), "spec")
        if old is not None and not causes:
            causes += _pod_update(new, old)
    elif kind.resource == "jobs.batch":
        causes += _pod_spec(dig(new, "spec", "template", "spec"), "spec.template.spec")
    elif kind.resource == "services":
        causes += _service(new, old)
    elif kind.resource == "horizontalpodautoscalers.autoscaling":
        causes += _autoscaler(new)
    if causes:
        raise statuses.invalid(kind.kind, kind.group, name_of(new), causes)


def _metadata(kind: Kind, obj: Json) -> list[Cause]:
    causes: list[Cause] = []
    name = name_of(obj)
    if not name:
        causes.append(("metadata.name", "FieldValueRequired", "Required value: name or generateName is required"))
    elif kind.group not in _FREE_NAMES and (not _SUBDOMAIN.fullmatch(name) or len(name) > 253):
        causes.append(("metadata.name", "FieldValueInvalid", f'Invalid value: "{name}": {_SUBDOMAIN_RULE}'))
    wrong = [
        value
        for value in (obj["metadata"].get("labels") or {}).values()
        if not isinstance(value, str) or len(value) > 63 or not _LABEL_VALUE.fullmatch(value)
    ]
    return causes + [
        ("metadata.labels", "FieldValueInvalid", f'Invalid value: "{value}": {_LABEL_RULE}') for value in wrong
    ]


def _workload(new: Json, old: Json | None) -> list[Cause]:
    spec = new.get("spec")
    if not isinstance(spec, dict):
        return [("spec", "FieldValueRequired", "Required value")]
    causes: list[Cause] = []
    replicas = spec.get("replicas")
    if replicas is not None and not isinstance(replicas, int):
        causes.append(("spec.replicas", "FieldValueTypeInvalid", f"Invalid value: {replicas!r}: must be an integer"))
    elif replicas is not None and replicas < 0:
        causes.append(
            ("spec.replicas", "FieldValueInvalid", f"Invalid value: {replicas}: must be greater than or equal to 0")
        )
    if not spec.get("selector"):
        causes.append(("spec.selector", "FieldValueRequired", "Required value"))
    else:
        labels = dig(spec, "template", "metadata", "labels", default={})
        if not selectors.of_selector(spec["selector"])(labels):
            causes.append(
                (
                    "spec.template.metadata.labels",
                    "FieldValueInvalid",
                    f"Invalid value: {labels}: `selector` does not match template `labels`",
                )
            )
    causes += _pod_spec(dig(spec, "template", "spec"), "spec.template.spec")
    if old is not None and dig(old, "spec", "selector") != spec.get("selector"):
        causes.append(
            ("spec.selector", "FieldValueInvalid", f"Invalid value: {spec.get('selector')}: field is immutable")
        )
    return causes


def _pod_spec(spec: Json | None, path: str) -> list[Cause]:
    if not isinstance(spec, dict) or not spec.get("containers"):
        return [(f"{path}.containers", "FieldValueRequired", "Required value")]
    causes: list[Cause] = []
    seen: set[str] = set()
    for field in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(field) or []):
            here = f"{path}.{field}[{index}]"
            name = container.get("name")
            if not name:
                causes.append((f"{here}.name", "FieldValueRequired", "Required value"))
            elif name in seen:
                causes.append((f"{here}.name", "FieldValueDuplicate", f'Duplicate value: "{name}"'))
            seen.add(name)
            if not container.get("image"):
                causes.append((f"{here}.image", "FieldValueRequired", "Required value"))
            for part in ("limits", "requests"):
                for resource, value in (dig(container, "resources", part, default={})).items():
                    try:
                        quantity.parse(value)
                    except ValueError as problem:
                        causes.append(
                            (f"{here}.resources.{part}[{resource}]", "FieldValueInvalid", f"Invalid value: {problem}")
                        )
    return causes


def _pod_update(new: Json, old: Json) -> list[Cause]:
    def fixed(pod: Json) -> Json:
        spec = {key: value for key, value in pod["spec"].items() if key not in _POD_MUTABLE}
        for field in ("containers", "initContainers"):
            if field in spec:
                spec[field] = [{k: v for k, v in row.items() if k != "image"} for row in spec[field]]
        return spec

    moved = dig(old, "spec", "nodeName") not in (None, dig(new, "spec", "nodeName"))
    if fixed(new) != fixed(old) or moved:
        return [("spec", "FieldValueForbidden", _POD_RULE)]
    return []


def _service(new: Json, old: Json | None) -> list[Cause]:
    spec = new.get("spec") or {}
    causes: list[Cause] = []
    if not spec.get("ports") and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        causes.append(("spec.ports", "FieldValueRequired", "Required value"))
    before = dig(old or {}, "spec", "clusterIP")
    if before and spec.get("type") != "ExternalName" and spec.get("clusterIP") != before:
        causes.append(
            (
                "spec.clusterIPs[0]",
                "FieldValueInvalid",
                f'Invalid value: ["{spec.get("clusterIP")}"]: may not change once set',
            )
        )
    return causes


def _autoscaler(new: Json) -> list[Cause]:
    spec = new.get("spec") or {}
    most, least = spec.get("maxReplicas"), spec.get("minReplicas", 1)
    if not isinstance(most, int) or most < 1:
        return [("spec.maxReplicas", "FieldValueInvalid", f"Invalid value: {most}: must be greater than 0")]
    if most < least:
        return [
            (
                "spec.maxReplicas",
                "FieldValueInvalid",
                f"Invalid value: {most}: must be greater than or equal to `minReplicas`",
            )
        ]
    return []
