"""Every object, its place in one line of revisions, and who wants to hear of changes.

All of it happens in one thread between two awaits, so a reader sees whole changes only and a writer never loses a race
inside this process. Objects that came out of the store are shared: nobody changes them, writers put new ones.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from drillbook.sandbox.control import statuses
from drillbook.sandbox.control.database import Database
from drillbook.sandbox.control.kinds import Kind
from drillbook.sandbox.control.objects import Json, controller_of, name_of, namespace_of, owners_of, uid_of

HISTORY = 8192
"""Changes of one resource that a late watcher can still be told; older ones answer 410 Gone."""

Address = tuple[str, str, str]
"""(resource, namespace, name)"""


class Entry:
    """One version of one object, with the bytes that every list and watch of it sends."""

    __slots__ = ("_encoded", "obj", "revision")

    def __init__(self, obj: Json, revision: int, encoded: bytes | None = None) -> None:
        self.obj = obj
        self.revision = revision
        self._encoded = encoded

    @property
    def encoded(self) -> bytes:
        if self._encoded is None:
            self._encoded = msgspec.json.encode(self.obj)
        return self._encoded


@dataclass(frozen=True, slots=True)
class Change:
    """``type`` is ADDED, MODIFIED or DELETED; a deletion carries the last state with the revision of its end."""

    type: str
    resource: str
    entry: Entry
    previous: Entry | None

    @property
    def obj(self) -> Json:
        return self.entry.obj


Listener = Callable[[Change], None]


class _History:
    __slots__ = ("changes", "floor")

    def __init__(self, floor: int) -> None:
        self.changes: deque[Change] = deque()
        self.floor = floor

    def add(self, change: Change) -> None:
        if len(self.changes) >= HISTORY:
            self.floor = self.changes.popleft().entry.revision
        self.changes.append(change)


class Store:
    """Objects by resource, namespace and name; in memory, with every write also in the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._objects: dict[str, dict[str, dict[str, Entry]]] = defaultdict(lambda: defaultdict(dict))
        self._sorted: dict[tuple[str, str], list[str]] = {}
        self._owned: dict[str, set[Address]] = defaultdict(set)
        self._free: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._uids: dict[str, Address] = {}
        self._histories: dict[str, _History] = {}
        self._listeners: dict[str, list[Listener]] = defaultdict(list)
        self.revision = max(1, database.last_revision())
        self._start = self.revision
        self._announcing = False
        for resource, namespace, name, revision, body in database.rows():
            entry = Entry(msgspec.json.decode(body), revision, body)
            self._objects[resource][namespace][name] = entry
            self._index((resource, namespace, name), entry.obj)

    def get(self, resource: str, namespace: str, name: str) -> Entry | None:
        return self._objects[resource][namespace].get(name)

    def entries(self, resource: str, namespace: str = "") -> list[Entry]:
        """In the order of their keys; all namespaces where none is named."""
        spaces = self._objects[resource]
        return [
            spaces[space][name]
            for space in ([namespace] if namespace else sorted(spaces))
            for name in self._names(resource, space)
        ]

    def _names(self, resource: str, namespace: str) -> list[str]:
        """In order, and sorted only after a name came or went: every page of a list asks."""
        names = self._sorted.get((resource, namespace))
        if names is None:
            names = self._sorted[resource, namespace] = sorted(self._objects[resource][namespace])
        return names

    def objects(self, resource: str, namespace: str = "") -> Iterator[Json]:
        """Without order: what controllers go through."""
        spaces = self._objects[resource]
        for space in [spaces[namespace]] if namespace else list(spaces.values()):
            for entry in list(space.values()):
                yield entry.obj

    def resources(self) -> list[str]:
        return list(self._objects)

    def owned_by(self, uid: str, resource: str = "") -> list[Json]:
        """The objects that name this owner, of one resource or of all."""
        return [
            self._objects[address[0]][address[1]][address[2]].obj
            for address in sorted(self._owned.get(uid, ()))
            if not resource or address[0] == resource
        ]

    def uncontrolled(self, resource: str, namespace: str) -> list[Json]:
        """The objects that no controller owns: who may be adopted."""
        return [self._objects[resource][namespace][name].obj for name in sorted(self._free[resource, namespace])]

    def by_uid(self, uid: str) -> Json | None:
        address = self._uids.get(uid)
        return None if address is None else self._objects[address[0]][address[1]][address[2]].obj

    def address_of(self, uid: str) -> Address | None:
        return self._uids.get(uid)

    def put(self, kind: Kind, obj: Json) -> Entry:
        """Write a new version. The store keeps ``obj`` itself: the caller lets go of it."""
        address = (kind.resource, namespace_of(obj), name_of(obj))
        previous = self.get(*address)
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        entry = Entry(obj, self.revision)
        if kind.kept:
            self._database.put(*address, self.revision, entry.encoded)
        if previous is not None:
            self._unindex(address, previous.obj)
        else:
            self._sorted.pop(address[:2], None)
        self._objects[address[0]][address[1]][address[2]] = entry
        self._index(address, obj)
        self._announce(Change("ADDED" if previous is None else "MODIFIED", kind.resource, entry, previous))
        return entry

    def remove(self, kind: Kind, obj: Json) -> Entry:
        """Take it away; ``obj`` is the last state that watchers are shown, and belongs to the store from now on."""
        address = (kind.resource, namespace_of(obj), name_of(obj))
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        if kind.kept:
            self._database.remove(*address, self.revision)
        previous = self._objects[address[0]][address[1]].pop(address[2])
        self._sorted.pop(address[:2], None)
        self._unindex(address, previous.obj)
        entry = Entry(obj, self.revision)
        self._announce(Change("DELETED", kind.resource, entry, previous))
        return entry

    def since(self, resource: str, revision: int) -> list[Change]:
        """What happened after ``revision``. Raises ApiError 410 where that is no longer known, or never was (a client
        that outlived another store must list anew).
        """
        history = self._histories.get(resource)
        floor = self._start if history is None else history.floor
        if revision < floor or revision > self.revision:
            raise statuses.expired(revision, floor)
        return [] if history is None else [change for change in history.changes if change.entry.revision > revision]

    def listen(self, resource: str, listener: Listener) -> None:
        """Be called with each change, in order, before the writer goes on."""
        self._listeners[resource].append(listener)

    def unlisten(self, resource: str, listener: Listener) -> None:
        self._listeners[resource].remove(listener)

    def _announce(self, change: Change) -> None:
        assert not self._announcing, "a listener may not write: others would hear of the changes in the wrong order"
        self._announcing = True
        try:
            self._tell(change)
        finally:
            self._announcing = False

    def _tell(self, change: Change) -> None:
        history = self._histories.get(change.resource)
        if history is None:
            history = self._histories[change.resource] = _History(self._start)
        history.add(change)
        for resource in (change.resource, "*"):
            for listener in tuple(self._listeners[resource]):
                listener(change)

    def _index(self, address: Address, obj: Json) -> None:
        self._uids[uid_of(obj)] = address
        if controller_of(obj) is None:
            self._free[address[:2]].add(address[2])
        for owner in owners_of(obj):
            self._owned[owner["uid"]].add(address)

    def _unindex(self, address: Address, obj: Json) -> None:
        self._uids.pop(uid_of(obj), None)
        self._free[address[:2]].discard(address[2])
        for owner in owners_of(obj):
            rest = self._owned[owner["uid"]]
            rest.discard(address)
            if not rest:
                del self._owned[owner["uid"]]
