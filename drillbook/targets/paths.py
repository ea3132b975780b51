"""Paths of the Kubernetes API: https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris."""

from __future__ import annotations

from typing import Any

from drillbook.model.undo import ObjectRef


def collection(api_version: str, plural: str, namespace: str = "") -> str:
    """Where objects of one kind are listed and created; cluster-wide without a namespace."""
    root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"


def of(ref: ObjectRef) -> str:
    """Where one object is."""
    return f"{collection(ref.api_version, ref.plural, ref.namespace)}/{ref.name}"


def pods(namespace: str) -> str:
    return collection("v1", "pods", namespace)


def pod(namespace: str, name: str) -> str:
    return f"{pods(namespace)}/{name}"


def ref(obj: dict[str, Any], plural: str, *, api_version: str = "", kind: str = "") -> ObjectRef:
    """The reference to an object as it was read. Items of a list do not say what they are: say it for them."""
    meta = obj["metadata"]
    return ObjectRef(
        api_version=api_version or obj["apiVersion"],
        kind=kind or obj["kind"],
        plural=plural,
        namespace=meta.get("namespace", ""),
        name=meta["name"],
        uid=meta.get("uid", ""),
    )


def pod_ref(pod_object: dict[str, Any]) -> ObjectRef:
    return ref(pod_object, "pods", api_version="v1", kind="Pod")
