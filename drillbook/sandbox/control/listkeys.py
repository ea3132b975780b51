"""Which lists of the built-in kinds are maps in disguise, and by which key: for strategic merge and for apply.

The facts are the ``patchMergeKey`` and ``listMapKey`` markers of the Kubernetes API types.
"""

from __future__ import annotations

_KEYS: dict[str, str] = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "env": "name", "volumes": "name",
    "imagePullSecrets": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath", "conditions": "type",
    "hostAliases": "ip", "topologySpreadConstraints": "topologyKey", "ownerReferences": "uid", "addresses": "type",
    "secrets": "name", "resourceClaims": "name", "podIPs": "ip", "volumeClaimTemplates": "",
}  # fmt: skip
_PORTS = {
    "containers": "containerPort",
    "initContainers": "containerPort",
    "ephemeralContainers": "containerPort",
    "spec": "port",
}
_SETS = frozenset({"finalizers"})


def merge_key(path: tuple[str, ...]) -> str:
    """The key of the list at ``path`` (names of fields, without list positions); empty where it is replaced whole."""
    field = path[-1]
    if field == "ports":
        return _PORTS.get(path[-2], "") if len(path) > 1 and "template" not in path[-2:] else ""
    if field == "addresses" and "status" not in path:
        return ""  # an EndpointSlice's addresses are plain strings
    if field == "conditions" and "status" not in path:
        return ""
    return _KEYS.get(field, "")


def is_set(path: tuple[str, ...]) -> bool:
    """Whether the list holds scalars that merge as a set."""
    return path[-1] in _SETS
