"""A container's environment: ``env`` and ``envFrom`` resolved, ``$(NAME)`` expanded, as the kubelet does both."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence

from drillbook.errors import DrillbookError
from drillbook.sandbox.control import quantity
from drillbook.sandbox.node.api import Json
from drillbook.sandbox.node.references import References

_REFERENCE = re.compile(r"\$(\$|\(([A-Za-z0-9_.-]+)\))")
_ARRAY = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]$")
_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*$")


class ConfigError(DrillbookError):
    """The container's configuration cannot be made up now (``CreateContainerConfigError``)."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace ``$(NAME)``; an unknown name stays as it is, and ``$$`` is a dollar."""

    def value(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return known.get(match[2], match[0])

    return _REFERENCE.sub(value, text)


def field(pod: Json, path: str) -> str:
    """What ``fieldRef.fieldPath`` names.

    :raises ConfigError: it is none that Kubernetes knows.
    """
    array = _ARRAY.match(path)
    if array:
        return str((pod["metadata"].get(array[1]) or {}).get(array[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        rows = pod["metadata"].get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{value}"' for key, value in sorted(rows.items()))
    simple = {
        "metadata.name": ("metadata", "name"), "metadata.namespace": ("metadata", "namespace"),
        "metadata.uid": ("metadata", "uid"), "spec.nodeName": ("spec", "nodeName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"), "status.hostIP": ("status", "hostIP"),
        "status.hostIPs": ("status", "hostIP"),
        "status.podIP": ("status", "podIP"), "status.podIPs": ("status", "podIP"),
    }  # fmt: skip
    if path not in simple:
        raise ConfigError(f"unsupported fieldPath: {path}")
    part, key = simple[path]
    return str(pod.get(part, {}).get(key, ""))


def resource(container: Json, machine: Json, reference: Json) -> str:
    """What ``resourceFieldRef`` names, in units of its divisor, rounded up; without a limit the node's own size."""
    part, _, name = reference["resource"].partition(".")
    given = container.get("resources", {}).get(part, {}).get(name)
    amount = quantity.parse(given if given is not None else machine.get(name, "0"))
    divisor = reference.get("divisor")
    unit = quantity.parse(divisor) if divisor not in (None, "", "0") else quantity.parse("1")
    return str(math.ceil(amount / unit))


async def resolve(pod: Json, container: Json, base: Mapping[str, str], machine: Json,
                  known: References) -> dict[str, str]:  # fmt: skip
    """The whole environment of ``container``; ``base`` comes first, ``machine`` holds the node's allocatable.

    :raises ConfigError: a ConfigMap, a Secret or a key of one is missing.
    """
    result = dict(base)
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or []:
        kind = "configmaps" if "configMapRef" in source else "secrets"
        reference = source.get("configMapRef") or source.get("secretRef") or {}
        found = await known.find(kind, namespace, reference["name"])
        if found is None and not reference.get("optional"):
            raise ConfigError(f'{kind[:-1]} "{reference["name"]}" not found')
        for key, text in texts(kind, found or {}).items():
            if _NAME.match(source.get("prefix", "") + key):
                result[source.get("prefix", "") + key] = text
    for row in container.get("env") or []:
        value = await _value(row, pod, container, result, machine, known)
        if value is not None:
            result[row["name"]] = value
    return result


async def _value(row: Json, pod: Json, container: Json, so_far: Mapping[str, str], machine: Json,
                 known: References) -> str | None:  # fmt: skip
    source = row.get("valueFrom")
    if not source:
        return expand(row.get("value") or "", so_far)
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource(container, machine, source["resourceFieldRef"])
    kind = "configmaps" if "configMapKeyRef" in source else "secrets"
    reference = source.get("configMapKeyRef") or source.get("secretKeyRef")
    if reference is None:
        raise ConfigError(f"env {row['name']}: no known valueFrom")
    found = await known.find(kind, pod["metadata"]["namespace"], reference["name"])
    if found is None:
        if reference.get("optional"):
            return None
        raise ConfigError(f'{kind[:-1]} "{reference["name"]}" not found')
    values = texts(kind, found)
    if reference["key"] not in values:
        if reference.get("optional"):
            return None
        label = "ConfigMap" if kind == "configmaps" else "Secret"
        where = f"{pod['metadata']['namespace']}/{reference['name']}"
        raise ConfigError(f"couldn't find key {reference['key']} in {label} {where}")
    return values[reference["key"]]


def contents(kind: str, obj: Json) -> dict[str, bytes]:
    """The files of a ConfigMap or Secret."""
    data = obj.get("data") or {}
    if kind == "secrets":
        return {key: base64.b64decode(value) for key, value in data.items()}
    binary = obj.get("binaryData") or {}
    return {**{key: value.encode() for key, value in data.items()},
            **{key: base64.b64decode(value) for key, value in binary.items()}}  # fmt: skip


def texts(kind: str, obj: Json) -> dict[str, str]:
    return {key: value.decode(errors="replace") for key, value in contents(kind, obj).items()}


def expand_all(words: Sequence[str], known: Mapping[str, str]) -> list[str]:
    return [expand(word, known) for word in words]
