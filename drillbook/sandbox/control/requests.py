"""What a request asks for: its path, query and caller, taken apart once."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.discovery import REVIEWS
from drillbook.sandbox.control.kinds import Kind, Kinds

ADMIN = "sandbox-admin"
_NAMESPACE_SUBRESOURCES = ("status", "finalize")
_CONNECTS = ("exec", "attach")


@dataclass(frozen=True, slots=True)
class Caller:
    """Nobody proves who they are here: a bearer token is the user's name, and anybody may impersonate."""

    user: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, request: web.Request) -> Caller:
        user = request.headers.get("Impersonate-User", "")
        groups = tuple(request.headers.getall("Impersonate-Group", []))
        if not user:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            user = token if scheme.lower() == "bearer" and token else ADMIN
        if user == ADMIN:
            groups = (*groups, "system:masters")
        return cls(user, (*groups, "system:authenticated"))


@dataclass(frozen=True, slots=True)
class Target:
    """A resource path, resolved: ``name`` and ``subresource`` are empty where the path has none."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    def verb(self, request: web.Request) -> str:
        """The verb that permissions speak of."""
        method = request.method
        if self.subresource in _CONNECTS:
            return "get" if method == "GET" else "create"  # a WebSocket opens with GET
        if method in ("GET", "HEAD"):
            if self.name:
                return "get"
            return "watch" if is_true(request.query.get("watch")) else "list"
        if method == "DELETE":
            return "delete" if self.name else "deletecollection"
        if not self.name and method in ("PUT", "PATCH"):
            raise statuses.method_not_allowed()
        found = {"POST": "create", "PUT": "update", "PATCH": "patch"}.get(method)
        if found is None:
            raise statuses.method_not_allowed()
        return found


def is_true(text: str | None) -> bool:
    """A boolean of a query, as Go reads it."""
    return (text or "").lower() in ("true", "1", "t")


def resolve(path: str, kinds: Kinds) -> Target | None:
    """The target of a path below /api or /apis; None where it is not a resource path. Raises ApiError 404."""
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"] and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[:1] == ["apis"] and len(parts) > 3 and parts[1] not in REVIEWS:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (not group and rest[2] in _NAMESPACE_SUBRESOURCES):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    if kind is None or len(rest) > 3 or (namespace and not kind.namespaced):
        raise statuses.no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    if subresource and subresource not in kind.subresources:
        raise statuses.no_such_path()
    if kind.namespaced and name and not namespace:
        raise statuses.no_such_path()
    return Target(kind, namespace, name, subresource)


def number(text: str | None, field: str) -> int | None:
    """Raises ApiError 400."""
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise statuses.bad_request(f"{field}: {text!r} is not a number") from None
