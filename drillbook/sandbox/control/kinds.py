"""What a kind is to the API server, and the table of the kinds it serves. Adding a kind is adding a row of data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from drillbook.sandbox.control.objects import Json

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True)
class Column:
    """An extra printer column of a custom resource."""

    name: str
    type: str
    path: tuple[str, ...]
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Kind:
    """One served version of one resource."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    """Of ``status``, ``scale`` and those with handlers of their own."""
    fields: frozenset[str] = frozenset()
    """What a field selector may name, beside ``metadata.name`` and ``metadata.namespace``."""
    categories: tuple[str, ...] = ()
    orphans: bool = False
    """Whether a deletion without a propagation policy leaves the dependents (Jobs, for old times' sake)."""
    kept: bool = True
    """Whether it is written to the database: measurements are not."""
    storage: str = ""
    """The version it is stored in, where that is another one."""
    stored_in: str | None = None
    """The API group it is stored in, where that is another one: ``events.k8s.io`` is another look at core events."""
    columns: tuple[Column, ...] = ()
    scale_paths: tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]] = field(
        default=(("spec", "replicas"), ("status", "replicas"), ())
    )
    """Where the scale subresource finds wanted replicas, present replicas and, as text, the selector."""
    verbs: tuple[str, ...] = VERBS

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """``pods``, ``deployments.apps``: the name in error messages, and the key in the store."""
        group = self._stored_group
        return f"{self.plural}.{group}" if group else self.plural

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def stored_api_version(self) -> str:
        version, group = self.storage or self.version, self._stored_group
        return f"{group}/{version}" if group else version

    @property
    def _stored_group(self) -> str:
        return self.group if self.stored_in is None else self.stored_in


class Kinds:
    """The kinds that are served now: the built-in ones and those of CustomResourceDefinitions."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._by_kind: dict[tuple[str, str], Kind] = {}
        for kind in kinds:
            self.add(kind)

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_path.values())

    def add(self, kind: Kind) -> None:
        self._by_path[kind.group, kind.version, kind.plural] = kind
        self._by_kind[kind.api_version, kind.kind] = kind

    def remove_resource(self, group: str, plural: str) -> None:
        for key, kind in list(self._by_path.items()):
            if (kind.group, kind.plural) == (group, plural):
                del self._by_path[key]
                self._by_kind.pop((kind.api_version, kind.kind), None)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def of(self, api_version: str, kind: str) -> Kind | None:
        """By the words of an object or an owner reference; any served version of the group will do."""
        exact = self._by_kind.get((api_version, kind))
        if exact is not None:
            return exact
        group = api_version.rpartition("/")[0]
        return next((k for k in self if k.group == group and k.kind == kind), None)

    def of_object(self, obj: Json) -> Kind | None:
        return self.of(str(obj.get("apiVersion", "")), str(obj.get("kind", "")))

    def of_resource(self, resource: str) -> Kind:
        """The storage version of ``deployments.apps``. Raises KeyError."""
        plural, _, group = resource.partition(".")
        for kind in self:
            if (kind.group, kind.plural) == (group, plural) and kind.storage in ("", kind.version):
                return kind
        raise KeyError(resource)

    def groups(self) -> dict[str, list[str]]:
        """Versions by group, the preferred one first."""
        found: dict[str, list[str]] = {}
        for kind in self:
            versions = found.setdefault(kind.group, [])
            if kind.version not in versions:
                versions.append(kind.version)
        return found
