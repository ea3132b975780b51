"""The garbage collector: what nobody owns any more goes; what waits for its dependents, or leaves them, is helped.

Keys are (what to look at, uid): ``item`` an object whose owners may be gone, ``owner`` one whose deletion concerns its
dependents.
"""

from __future__ import annotations

import functools

from drillbook.sandbox.control.controllers.controller import Controller, Key
from drillbook.sandbox.control.controllers.recorder import Recorder
from drillbook.sandbox.control.deletion import FOREGROUND, ORPHAN, DeleteOptions
from drillbook.sandbox.control.objects import Json, is_deleting, name_of, namespace_of, owners_of, uid_of
from drillbook.sandbox.control.registry import Registry
from drillbook.sandbox.control.store import Change

_ITEM, _OWNER = "item", "owner"


class GarbageCollector(Controller):
    component = "garbage-collector-controller"

    def __init__(self, registry: Registry, recorder: Recorder) -> None:
        super().__init__(registry, recorder)
        self.store.listen("*", self._on_change)

    def prime(self) -> list[Key]:
        found = []
        for resource in self.store.resources():
            for obj in self.store.objects(resource):
                if owners_of(obj):
                    found.append((_ITEM, uid_of(obj)))
                if is_deleting(obj):
                    found.append((_OWNER, uid_of(obj)))
        return found

    def _on_change(self, change: Change) -> None:
        obj, uid = change.obj, uid_of(change.obj)
        before = owners_of(change.previous.obj) if change.previous is not None else []
        if change.type == "DELETED":
            for dependent in self.store.owned_by(uid):
                self.enqueue((_ITEM, uid_of(dependent)))
        elif owners_of(obj) and owners_of(obj) != before:
            self.enqueue((_ITEM, uid))
        if change.type != "DELETED" and is_deleting(obj) and _finalizers(obj) & {FOREGROUND, ORPHAN}:
            self.enqueue((_OWNER, uid))
        for row in before:
            owner = self.store.by_uid(row["uid"])
            if owner is not None and is_deleting(owner) and FOREGROUND in _finalizers(owner):
                self.enqueue((_OWNER, row["uid"]))

    def reconcile(self, namespace: str, name: str) -> float | None:
        obj = self.store.by_uid(name)
        if obj is None:
            return None
        if namespace == _ITEM:
            self._judge(obj)
        elif is_deleting(obj):
            if ORPHAN in _finalizers(obj):
                self._orphan_dependents(obj)
            elif FOREGROUND in _finalizers(obj):
                self._delete_dependents(obj)
        return None

    def _judge(self, obj: Json) -> None:
        """Delete an object whose owners are all gone or going; strike out the dead owners of one that has others."""
        if is_deleting(obj):
            return
        solid, gone = [], []
        waiting = False
        for row in owners_of(obj):
            owner = self.store.by_uid(row["uid"])
            if owner is None or namespace_of(owner) not in ("", namespace_of(obj)):
                gone.append(row)
            elif is_deleting(owner) and FOREGROUND in _finalizers(owner) and row.get("blockOwnerDeletion"):
                waiting = True
                gone.append(row)
            else:
                solid.append(row)
        if not gone:
            return
        kind = self.registry.kinds.of_object(obj)
        if kind is None:
            return
        if solid:
            self.registry.modify(
                kind, namespace_of(obj), name_of(obj), lambda fresh: fresh["metadata"].update(ownerReferences=solid)
            )
            return
        finalizers = _finalizers(obj)
        if ORPHAN in finalizers:
            policy = "Orphan"
        elif FOREGROUND in finalizers or (waiting and self.store.owned_by(uid_of(obj))):
            policy = "Foreground"
        else:
            policy = "Background"
        self.registry.delete(kind, namespace_of(obj), name_of(obj), DeleteOptions(propagation=policy, uid=uid_of(obj)))

    def _orphan_dependents(self, owner: Json) -> None:
        for obj in self.store.owned_by(uid_of(owner)):
            kind = self.registry.kinds.of_object(obj)
            if kind is not None:
                rest = [row for row in owners_of(obj) if row["uid"] != uid_of(owner)]
                disown = functools.partial(_set_owners, rest)
                self.registry.modify(kind, namespace_of(obj), name_of(obj), disown)
        self._remove_finalizer(owner, ORPHAN)

    def _delete_dependents(self, owner: Json) -> None:
        dependents = self.store.owned_by(uid_of(owner))
        for obj in dependents:
            self._judge(obj)
        blocking = [
            obj
            for obj in self.store.owned_by(uid_of(owner))
            for row in owners_of(obj)
            if row["uid"] == uid_of(owner) and row.get("blockOwnerDeletion")
        ]
        if not blocking:
            self._remove_finalizer(owner, FOREGROUND)

    def _remove_finalizer(self, owner: Json, finalizer: str) -> None:
        kind = self.registry.kinds.of_object(owner)
        if kind is not None and self.store.by_uid(uid_of(owner)) is not None:
            rest = [name for name in owner["metadata"]["finalizers"] if name != finalizer]
            self.registry.modify(
                kind, namespace_of(owner), name_of(owner), lambda fresh: fresh["metadata"].update(finalizers=rest)
            )


def _finalizers(obj: Json) -> set[str]:
    return set(obj["metadata"].get("finalizers") or ())


def _set_owners(owners: list[Json], obj: Json) -> None:
    obj["metadata"]["ownerReferences"] = owners
