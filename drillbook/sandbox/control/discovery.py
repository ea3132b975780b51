"""What is served here: /version, /api, /apis and the resource list of each group version."""

from __future__ import annotations

from drillbook.sandbox.control.kinds import Kind, Kinds
from drillbook.sandbox.control.objects import Json

VERSION: Json = {
    "major": "1", "minor": "32", "gitVersion": "v1.32.4+drillbook", "gitCommit": "sandbox", "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z", "goVersion": "none", "compiler": "none", "platform": "linux/amd64",
}  # fmt: skip

_SUBRESOURCE_KINDS = {
    "scale": ("autoscaling", "v1", "Scale", ["get", "patch", "update"]),
    "eviction": ("policy", "v1", "Eviction", ["create"]),
    "exec": ("", "", "PodExecOptions", ["create", "get"]),
    "attach": ("", "", "PodAttachOptions", ["create", "get"]),
    "log": ("", "", "", ["get"]),
    "binding": ("", "", "Binding", ["create"]),
    "finalize": ("", "", "", ["update"]),
}
REVIEWS = {
    "authorization.k8s.io": (
        ("SelfSubjectAccessReview", "selfsubjectaccessreviews"),
        ("SelfSubjectRulesReview", "selfsubjectrulesreviews"),
    ),
    "authentication.k8s.io": (("SelfSubjectReview", "selfsubjectreviews"),),
}


def _group(name: str, versions: list[str]) -> Json:
    rows = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": rows, "preferredVersion": rows[0]}


def _groups(kinds: Kinds) -> dict[str, list[str]]:
    found = kinds.groups()
    found.pop("", None)
    return {**found, **{group: ["v1"] for group in REVIEWS}}


def core_versions() -> Json:
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def group_list(kinds: Kinds) -> Json:
    groups = [_group(name, versions) for name, versions in _groups(kinds).items()]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(kinds: Kinds, name: str) -> Json | None:
    versions = _groups(kinds).get(name)
    return None if versions is None else _group(name, versions)


def resource_list(kinds: Kinds, name: str, version: str) -> Json | None:
    """The APIResourceList of one group version; None where there is none."""
    rows = [row for kind in kinds if (kind.group, kind.version) == (name, version) for row in _rows(kind)]
    if version == "v1":
        rows += [
            {"name": plural, "singularName": kind.lower(), "namespaced": False, "kind": kind, "verbs": ["create"]}
            for kind, plural in REVIEWS.get(name, ())
        ]
    if not rows:
        return None
    text = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": text, "resources": rows}


def _rows(kind: Kind) -> list[Json]:
    row: Json = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    rows = [row]
    for name in sorted(kind.subresources):
        group_name, version, other, verbs = _SUBRESOURCE_KINDS.get(name, ("", "", "", ["get", "patch", "update"]))
        sub: Json = {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": other or kind.kind,
            "verbs": verbs,
        }
        if group_name:
            sub |= {"group": group_name, "version": version}
        rows.append(sub)
    return rows
