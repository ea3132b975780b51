"""OpenAPI v3, as little of it as kubectl wants: which kinds may be patched, and that the server validates fields.

``kubectl apply`` and ``diff`` look for a PATCH of their kind that names ``fieldValidation``. No schemas are given, and
no strategic merge among the media types: kubectl then merges by its own compiled-in types, as it does best.
"""

from __future__ import annotations

from drillbook.sandbox.control.kinds import Kind, Kinds
from drillbook.sandbox.control.objects import Json

_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation", "force", "pretty")
]


def index(kinds: Kinds) -> Json:
    """The document at /openapi/v3."""
    names = {f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}" for kind in kinds}
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in sorted(names)}}


def document(kinds: Kinds, group: str, version: str) -> Json:
    """The document of one group version."""
    rows = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    return {
        "openapi": "3.0.0",
        "info": {"title": "drillbook sandbox", "version": "v1.32.4"},
        "paths": {_path(kind): _operations(kind) for kind in rows},
        "components": {"schemas": {_schema_name(kind): _schema(kind) for kind in rows}},
    }


def _path(kind: Kind) -> str:
    base = f"/apis/{kind.api_version}" if kind.group else f"/api/{kind.version}"
    return (
        f"{base}/namespaces/{{namespace}}/{kind.plural}/{{name}}"
        if kind.namespaced
        else f"{base}/{kind.plural}/{{name}}"
    )


def _gvk(kind: Kind) -> Json:
    return {"group": kind.group, "version": kind.version, "kind": kind.kind}


def _operations(kind: Kind) -> Json:
    content = {
        media: {"schema": {"type": "object"}}
        for media in ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
    }
    responses = {
        "200": {
            "description": "OK",
            "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{_schema_name(kind)}"}}},
        }
    }
    return {
        "get": {"x-kubernetes-action": "get", "x-kubernetes-group-version-kind": _gvk(kind), "responses": responses},
        "patch": {
            "x-kubernetes-action": "patch",
            "x-kubernetes-group-version-kind": _gvk(kind),
            "parameters": _PARAMETERS,
            "requestBody": {"content": content},
            "responses": responses,
        },
    }


def _schema_name(kind: Kind) -> str:
    return f"{kind.group or 'core'}.{kind.version}.{kind.kind}"


def _schema(kind: Kind) -> Json:
    return {
        "type": "object",
        "x-kubernetes-group-version-kind": [_gvk(kind)],
        "x-kubernetes-preserve-unknown-fields": True,
    }
