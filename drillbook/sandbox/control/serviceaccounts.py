"""Admission of service accounts: the volume with a pod's token that every pod of a real cluster has.

Clients rely on it being there: some walk over ``spec.volumes`` without looking if there are any. It is not mounted:
pods are given a kubeconfig, because nothing here speaks TLS, which in-cluster credentials want.
"""

from __future__ import annotations

import random

from drillbook.sandbox.control.objects import Json

_PREFIX = "kube-api-access-"
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def admit(spec: Json) -> None:
    """Give the pod the volume, in place, unless its spec says that it wants none or has it already."""
    volumes = spec.get("volumes") or []
    if spec.get("automountServiceAccountToken") is False or any(row["name"].startswith(_PREFIX) for row in volumes):
        return
    name = _PREFIX + "".join(random.choices(_LETTERS, k=5))  # noqa: S311  names, not secrets
    token = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    field = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [token, {"downwardAPI": {"items": [field]}}]
    spec["volumes"] = [*volumes, {"name": name, "projected": {"defaultMode": 420, "sources": sources}}]
