"""Reading the protobuf bodies that kubectl sends for a handful of kinds (``create``, ``autoscale``, ``auth can-i``).

Answers are JSON, which such clients accept as well. The numbers of the fields are those of Kubernetes' generated.proto
files; only what those commands can set is listed, and a field that is not listed is refused rather than lost.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.objects import Json

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# A message: field number to "name type". A type is int, bool, text, map (of text), blobs (a map of bytes), share (an
# int-or-string), drop (read and forgotten) or another message; "*" after it says repeated.
_MESSAGES: dict[str, dict[int, str]] = {
    "ObjectMeta": {1: "name text", 2: "generateName text", 3: "namespace text", 4: "- drop", 5: "- drop", 6: "- drop",
                   7: "- drop", 8: "- drop", 11: "labels map", 12: "annotations map", 14: "finalizers text*"},
    "Namespace": {1: "metadata ObjectMeta", 2: "- drop", 3: "- drop"},
    "ConfigMap": {1: "metadata ObjectMeta", 2: "data map", 3: "binaryData blobs", 4: "immutable bool"},
    "Secret": {1: "metadata ObjectMeta", 2: "data blobs", 3: "type text", 4: "stringData map", 5: "immutable bool"},
    "ServiceAccount": {1: "metadata ObjectMeta"},
    "Deployment": {1: "metadata ObjectMeta", 2: "spec DeploymentSpec", 3: "- drop"},
    "DeploymentSpec": {1: "replicas int", 2: "selector LabelSelector", 3: "template PodTemplate", 4: "- drop",
                       5: "minReadySeconds int", 7: "paused bool"},
    "LabelSelector": {1: "matchLabels map", 2: "matchExpressions Requirement*"},
    "Requirement": {1: "key text", 2: "operator text", 3: "values text*"},
    "PodTemplate": {1: "metadata ObjectMeta", 2: "spec PodSpec"},
    "PodSpec": {2: "containers Container*", 3: "restartPolicy text", 6: "dnsPolicy text", 7: "nodeSelector map",
                8: "serviceAccountName text", 9: "- drop", 10: "- drop", 11: "hostNetwork bool", 12: "- drop",
                13: "- drop", 16: "- drop", 17: "- drop", 19: "- drop", 24: "- drop"},
    "Container": {1: "name text", 2: "image text", 3: "command text*", 4: "args text*", 5: "workingDir text",
                  6: "ports ContainerPort*", 8: "- drop", 13: "- drop", 14: "imagePullPolicy text", 16: "stdin bool",
                  17: "- drop", 18: "tty bool", 20: "- drop"},
    "ContainerPort": {1: "name text", 2: "- drop", 3: "containerPort int", 4: "protocol text", 5: "- drop"},
    "Job": {1: "metadata ObjectMeta", 2: "spec JobSpec", 3: "- drop"},
    "JobSpec": {1: "parallelism int", 2: "completions int", 4: "selector LabelSelector", 6: "template PodTemplate",
                7: "backoffLimit int"},
    "PodDisruptionBudget": {1: "metadata ObjectMeta", 2: "spec BudgetSpec", 3: "- drop"},
    "BudgetSpec": {1: "minAvailable share", 2: "selector LabelSelector", 3: "maxUnavailable share"},
    "HorizontalPodAutoscaler": {1: "metadata ObjectMeta", 2: "spec AutoscalerSpec", 3: "- drop"},
    "AutoscalerSpec": {1: "scaleTargetRef Reference", 2: "minReplicas int", 3: "maxReplicas int",
                       4: "targetCPUUtilizationPercentage int"},
    "Reference": {1: "kind text", 2: "name text", 3: "apiVersion text"},
    "SelfSubjectAccessReview": {1: "- drop", 2: "spec AccessSpec", 3: "- drop"},
    "AccessSpec": {1: "resourceAttributes ResourceAttributes", 2: "nonResourceAttributes PathAttributes"},
    "ResourceAttributes": {1: "namespace text", 2: "verb text", 3: "group text", 4: "version text", 5: "resource text",
                           6: "subresource text", 7: "name text"},
    "PathAttributes": {1: "path text", 2: "verb text"},
    "SelfSubjectRulesReview": {1: "- drop", 2: "spec RulesSpec", 3: "- drop"},
    "RulesSpec": {1: "namespace text"},
    "SelfSubjectReview": {1: "- drop", 2: "- drop"},
}  # fmt: skip


def decode(data: bytes) -> Json:
    """The object in an enveloped body. Raises ApiError 400, 415."""
    try:
        if not data.startswith(_MAGIC):
            raise ValueError("the envelope is missing")
        envelope = {number: value for number, _, value in _fields(data[len(_MAGIC) :])}
        names = {number: value.decode() for number, _, value in _fields(envelope[1])}
        kind = names.get(2, "")
        if kind not in _MESSAGES:
            raise statuses.unsupported_media(
                f"the body of the request was in an unknown format - the sandbox reads "
                f"{MEDIA_TYPE} for some kinds only, not for {kind}; send application/json"
            )
        return {"apiVersion": names.get(1, ""), "kind": kind, **_message(kind, envelope[2])}
    except (ValueError, KeyError, IndexError, AttributeError) as problem:
        raise statuses.bad_request(f"the protobuf body cannot be read: {problem}") from None


def _fields(data: bytes) -> Iterator[tuple[int, int, Any]]:
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        value: Any
        if wire == _VARINT:
            value, position = _varint(data, position)
        elif wire == _BYTES:
            size, position = _varint(data, position)
            value, position = data[position : position + size], position + size
            if len(value) != size:
                raise ValueError("the body is cut short")
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
            value, position = data[position : position + size], position + size
        else:
            raise ValueError(f"wire type {wire} is unknown")
        yield tag >> 3, wire, value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7


def _message(name: str, data: bytes) -> Json:
    result: Json = {}
    for number, _, raw in _fields(data):
        words = _MESSAGES[name].get(number)
        if words is None:
            raise ValueError(f"the sandbox does not know field {number} of {name} in protobuf; send application/json")
        field, kind = words.split()
        if kind == "drop":
            continue
        if kind in ("map", "blobs"):
            entry = {key: value for key, _, value in _fields(raw)}
            text = entry.get(2, b"")
            result.setdefault(field, {})[entry[1].decode()] = (
                text.decode() if kind == "map" else base64.b64encode(text).decode()
            )
        elif kind.endswith("*"):
            result.setdefault(field, []).append(_value(kind[:-1], raw))
        elif (value := _value(kind, raw)) != "":
            result[field] = value
    return result


def _value(kind: str, raw: Any) -> Any:
    if kind == "text":
        return raw.decode()
    if kind == "bool":
        return bool(raw)
    if kind == "int":
        return raw - (1 << 64) if raw >> 63 else raw
    if kind == "share":
        parts = {number: value for number, _, value in _fields(raw)}
        return parts.get(3, b"").decode() if parts.get(1) else parts.get(2, 0)
    return _message(kind, raw)
