"""What an API server does between request and store: names, defaults, validation, conflicts, generations, deletion.

HTTP handlers and controllers use this same door. Everything is synchronous: between two awaits nobody else writes.
"""

from __future__ import annotations

import contextlib
import ipaddress
import random
import uuid
from collections.abc import Callable, Iterator

from drillbook.sandbox.control import deletion, statuses, strategies, times, validation
from drillbook.sandbox.control.deletion import DeleteOptions
from drillbook.sandbox.control.kinds import Kind, Kinds
from drillbook.sandbox.control.objects import Json, copy, dig, is_deleting, name_of, namespace_of
from drillbook.sandbox.control.settings import Settings
from drillbook.sandbox.control.store import Entry, Store

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_PINNED = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "name",
    "namespace",
    "generateName",
    "selfLink",
)
_OMITTED_IF_EMPTY = ("annotations", "finalizers", "labels", "managedFields", "ownerReferences")
Mutation = Callable[[Json], None]


def suffix() -> str:
    """Five characters that make a generated name unique and never spell a word."""
    return "".join(random.choices(_SUFFIX_LETTERS, k=5))  # noqa: S311  names, not secrets


class Registry:
    """Create, read, update and delete, with an API server's rules."""

    def __init__(self, store: Store, kinds: Kinds, settings: Settings) -> None:
        self.store = store
        self.kinds = kinds
        self.settings = settings
        self._network = ipaddress.ip_network(settings.service_cidr)

    def get(self, kind: Kind, namespace: str, name: str) -> Entry:
        """Raises ApiError 404."""
        entry = self.store.get(kind.resource, namespace, name)
        if entry is None:
            raise statuses.not_found(kind.resource, name)
        return entry

    def find(self, resource: str, namespace: str, name: str) -> Json | None:
        entry = self.store.get(resource, namespace, name)
        return None if entry is None else entry.obj

    def create(self, kind: Kind, namespace: str, obj: Json, *, dry_run: bool = False) -> Entry:
        """Store a new object (``obj`` is taken over). Raises ApiError 400, 403, 404, 409, 422."""
        metadata = obj.setdefault("metadata", {})
        self._place(kind, namespace, metadata)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"][:58] + suffix()
        for field in ("resourceVersion", "selfLink", "deletionTimestamp", "deletionGracePeriodSeconds"):
            metadata.pop(field, None)
        obj["apiVersion"], obj["kind"] = kind.stored_api_version, kind.kind
        metadata["uid"] = str(uuid.uuid4())
        metadata["creationTimestamp"] = times.stamp()
        with _shaped(kind):
            strategies.prepare_create(kind, obj, self.settings)
            validation.check(kind, obj, None)
        self._check_namespace(kind, namespace, metadata["name"])
        if self.store.get(kind.resource, namespace, metadata["name"]) is not None:
            raise statuses.already_exists(kind.resource, metadata["name"])
        if kind.resource == "services":
            self._assign_address(obj)
        elif kind.resource == "pods":
            self._resolve_priority(obj)
            obj["status"]["qosClass"] = strategies.qos_class(obj["spec"])
        if dry_run:
            return Entry(obj, 0)
        return self.store.put(kind, obj)

    def update(
        self, kind: Kind, namespace: str, name: str, obj: Json, subresource: str = "", *, dry_run: bool = False
    ) -> Entry:
        """Replace an object or its ``status`` (``obj`` is taken over). Raises ApiError 404, 409, 422."""
        entry = self.get(kind, namespace, name)
        old = entry.obj
        metadata = obj.setdefault("metadata", {})
        self._place(kind, namespace, metadata)
        if metadata.get("name", name) != name:
            raise statuses.bad_request(
                f"the name of the object ({metadata['name']}) does not match the name on the URL ({name})"
            )
        if metadata.get("resourceVersion") not in (None, "", old["metadata"]["resourceVersion"]):
            raise statuses.stale(kind.resource, name)
        if metadata.get("uid") not in (None, "", old["metadata"]["uid"]):
            raise statuses.conflict(
                kind.resource,
                name,
                f"Precondition failed: UID in precondition: {metadata['uid']},"
                f" UID in object meta: {old['metadata']['uid']}",
            )
        for field in _PINNED:
            metadata.pop(field, None)
            if field in old["metadata"]:
                metadata[field] = old["metadata"][field]
        metadata["resourceVersion"] = old["metadata"]["resourceVersion"]
        obj["apiVersion"], obj["kind"] = old["apiVersion"], old["kind"]
        self._check_finalizers(kind, obj, old)
        with _shaped(kind):
            strategies.prepare_update(kind, obj, old, subresource)
            if subresource != "status":
                validation.check(kind, obj, old)
        if dry_run:
            return Entry(obj, entry.revision)
        if deletion.is_finished(kind, obj):
            removed = self.store.remove(kind, copy(old))  # watchers see what was stored last, finalizer included
            obj["metadata"]["resourceVersion"] = str(removed.revision)
            return Entry(obj, removed.revision)
        return entry if obj == old else self.store.put(kind, obj)

    def modify(self, kind: Kind, namespace: str, name: str, change: Mutation, subresource: str = "") -> Entry:
        """Change a copy in place and store it: the controllers' way of writing. Raises ApiError 404, 409, 422."""
        obj = copy(self.get(kind, namespace, name).obj)
        change(obj)
        return self.update(kind, namespace, name, obj, subresource)

    def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions | None = None) -> tuple[Entry, bool]:
        """Begin or finish a deletion: the object, and whether it is gone. Raises ApiError 404, 409."""
        options = options or DeleteOptions()
        entry = self.get(kind, namespace, name)
        outcome = deletion.decide(kind, entry.obj, options)
        if options.dry_run:
            return Entry(outcome.obj, entry.revision), outcome.remove
        if outcome.changed:
            entry = self.store.put(kind, outcome.obj)
        return (self.store.remove(kind, copy(entry.obj)), True) if outcome.remove else (entry, False)

    def bind(self, namespace: str, name: str, node: str) -> Entry:
        """Assign a pod to a node. Raises ApiError 404, 409."""
        kind = self.kinds.of_resource("pods")
        entry = self.get(kind, namespace, name)
        if dig(entry.obj, "spec", "nodeName"):
            raise statuses.conflict(
                "pods", name, f'pod {name} is already assigned to node "{entry.obj["spec"]["nodeName"]}"'
            )
        if is_deleting(entry.obj):
            raise statuses.conflict("pods", name, f"pod {name} is being deleted, cannot be assigned to a host")
        pod = copy(entry.obj)
        pod["spec"]["nodeName"] = node
        conditions = [row for row in dig(pod, "status", "conditions", default=[]) if row["type"] != "PodScheduled"]
        conditions.append(
            {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": times.stamp()}
        )
        pod["status"]["conditions"] = conditions
        return self.update(kind, namespace, name, pod, "binding")

    def _place(self, kind: Kind, namespace: str, metadata: Json) -> None:
        if not kind.namespaced:
            metadata.pop("namespace", None)
        elif metadata.get("namespace") not in (None, "", namespace):
            raise statuses.bad_request(
                f"the namespace of the provided object does not match the namespace sent on the "
                f"request: {metadata['namespace']} is not {namespace}"
            )
        else:
            metadata["namespace"] = namespace
        for field in _OMITTED_IF_EMPTY:
            if field in metadata and not metadata[field]:
                del metadata[field]

    def _check_namespace(self, kind: Kind, namespace: str, name: str) -> None:
        if not kind.namespaced:
            return
        found = self.find("namespaces", "", namespace)
        if found is None:
            raise statuses.not_found("namespaces", namespace)
        if is_deleting(found) and kind.resource != "events":
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise statuses.forbidden(kind.resource, name, why, [cause])

    def _check_finalizers(self, kind: Kind, obj: Json, old: Json) -> None:
        added = set(obj["metadata"].get("finalizers") or []) - set(old["metadata"].get("finalizers") or [])
        if added and is_deleting(old):
            why = (
                "Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers "
                f"{sorted(added)}"
            )
            cause = ("metadata.finalizers", "FieldValueForbidden", why)
            raise statuses.invalid(kind.kind, kind.group, name_of(obj), [cause])

    def _assign_address(self, service: Json) -> None:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return
        if not spec.get("clusterIP"):
            taken = {dig(other, "spec", "clusterIP") for other in self.store.objects("services")}
            spec["clusterIP"] = next(str(ip) for ip in self._network.hosts() if str(ip) not in taken)
        spec["clusterIPs"] = [spec["clusterIP"]]
        spec.setdefault("ipFamilies", ["IPv4"])
        spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _resolve_priority(self, pod: Json) -> None:
        name = dig(pod, "spec", "priorityClassName")
        if not name:
            return
        found = self.find("priorityclasses.scheduling.k8s.io", "", name)
        builtin = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}.get(name)
        if found is None and builtin is None:
            raise statuses.forbidden("pods", name_of(pod), f"no PriorityClass with name {name} was found")
        pod["spec"]["priority"] = builtin if found is None else int(found.get("value", 0))


@contextlib.contextmanager
def _shaped(kind: Kind) -> Iterator[None]:
    """Without schemas, an object of the wrong shape shows where its fields are first used. Raises ApiError 400."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise statuses.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"a field has the wrong shape: {problem}"
        ) from problem


def key_of(obj: Json) -> tuple[str, str]:
    """(namespace, name), as the controllers' queues know an object."""
    return namespace_of(obj), name_of(obj)
