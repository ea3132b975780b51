"""``UndoStore``: one run's undo record, at the target (a ConfigMap) and in the run folder, written before each fault.

The ConfigMap decides. Every write of it is a compare-and-swap on its resourceVersion, so that runner, watchdog and
``recover`` see one history; whoever undoes first *closes* it, and from then on nothing can be armed. It has no
ownerReference: deleting what the fault broke must not delete how to mend it.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec

from drillbook.errors import RefusedError, UndoError
from drillbook.model.undo import HEARTBEAT, EntryState, UndoEntry, UndoRecord
from drillbook.targets import paths
from drillbook.targets.answers import ConflictError, NotFoundError, UnavailableError
from drillbook.targets.kube import Json, Kube
from drillbook.undo import folder as folders

LABELS = {"app.kubernetes.io/managed-by": "drillbook", "drillbook.dev/record": "undo"}
SELECTOR = ",".join(f"{key}={value}" for key, value in LABELS.items())
KEY = "record.json"


class FencedError(RefusedError):
    """The record is closed: someone has undone this run, and nothing more may be injected."""


class NoRecordError(UndoError):
    """Neither the target nor the run folder knows of the run: whatever it did, nobody can tell how to undo it."""


class UndoStore:
    """The record of one run. ``record`` is its last known state; each method that changes it writes it down first."""

    def __init__(self, kube: Kube, namespace: str, folder: Path | None, record: UndoRecord, version: str) -> None:
        self.kube, self.namespace, self.folder = kube, namespace, folder
        self.record = record
        self.fence: Callable[[], None] | None = None
        """Asked once more when an entry has been written: raises ``FencedError`` where the Lease is no longer ours."""
        self._version = version
        self._lock = asyncio.Lock()

    @classmethod
    async def create(
        cls,
        kube: Kube,
        namespace: str,
        run_id: str,
        experiment: str,
        folder: Path,
        *,
        heartbeat: float = HEARTBEAT,
    ) -> Self:
        """A new, open, empty record.

        :raises ConflictError: a run of this id has one already.
        """
        record = UndoRecord(
            run_id=run_id,
            experiment=experiment,
            cluster=await kube.cluster(),
            namespace=namespace,
            heartbeat_seconds=heartbeat,
        )
        stored = await kube.create(paths.collection("v1", "configmaps", namespace), _config_map(record, namespace))
        await asyncio.to_thread(folders.write, folder, record)
        return cls(kube, namespace, folder, record, stored["metadata"]["resourceVersion"])

    @classmethod
    async def open(cls, kube: Kube, namespace: str, run_id: str, folder: Path | None = None) -> Self:
        """The record of an earlier or another process's run: the target's, or, where that is lost, the run folder's.

        :raises NoRecordError: there is neither.
        """
        found = await kube.find(_path(namespace, run_id))
        if found is not None:
            return cls.of(kube, found, folder)
        record = await asyncio.to_thread(folders.read, folder) if folder else None
        if record is None or record.run_id != run_id:
            raise NoRecordError(f"there is no undo record of run {run_id} in namespace {namespace}")
        return cls(kube, namespace, folder, record, "")

    @classmethod
    def of(cls, kube: Kube, config_map: Json, folder: Path | None = None) -> Self:
        """The record that a ConfigMap holds.

        :raises UndoError: it cannot be read.
        """
        meta = config_map["metadata"]
        return cls(kube, meta["namespace"], folder, _decode(config_map), meta["resourceVersion"])

    @property
    def path(self) -> str:
        return _path(self.namespace, self.record.run_id)

    async def refresh(self) -> UndoRecord:
        """Read the target's record again."""
        async with self._lock:
            await self._read()
        return self.record

    async def arm(self, entry: UndoEntry) -> None:
        """Write down how to undo a fault; after this returns, and only then, the fault may be injected.

        :raises FencedError: the record is closed or gone; the fault must not be injected.
        """

        def armed(record: UndoRecord) -> UndoRecord:
            if record.closed:
                raise FencedError(
                    f"run {record.run_id} was undone by {record.closed_by}; nothing more is injected",
                    hint="this runner stood still for too long; start the experiment again",
                )
            others = tuple(each for each in record.entries if each.id != entry.id)
            return msgspec.structs.replace(record, entries=(*others, entry))

        async with self._lock:
            try:
                await self._change(armed)
            except NotFoundError as error:
                raise FencedError(
                    f"the undo record of run {self.record.run_id} is gone; nothing is injected"
                ) from error
            if self.fence is not None:
                self.fence()

    async def close(self, by: str) -> None:
        """Fence injection, once and for all. Closing a closed record changes nothing."""

        def closed(record: UndoRecord) -> UndoRecord:
            return record if record.closed else msgspec.structs.replace(record, closed=True, closed_by=by)

        async with self._lock:
            await self._keep(closed)

    async def mark(self, entry_id: str, state: EntryState, detail: str = "") -> None:
        """Write down how the undo of one entry ended."""

        def marked(record: UndoRecord) -> UndoRecord:
            entries = tuple(
                msgspec.structs.replace(each, state=state, detail=detail) if each.id == entry_id else each
                for each in record.entries
            )
            return record if entries == record.entries else msgspec.structs.replace(record, entries=entries)

        async with self._lock:
            await self._keep(marked)

    async def remove(self) -> None:
        """Delete the target's copy of a record that is closed and clean; the run folder keeps its own.

        :raises UndoError: something remains to be undone.
        """
        async with self._lock:
            if not self.record.closed or self.record.remaining:
                raise UndoError(f"the undo record of run {self.record.run_id} is still needed")
            try:
                await self.kube.delete(self.path)
            except NotFoundError:
                return

    async def _keep(self, change: Callable[[UndoRecord], UndoRecord]) -> None:
        """Change a record that may be gone from the target: the copy here is then the only one left."""
        try:
            await self._change(change, durable=False)
        except NotFoundError:
            wanted = change(self.record)
            if wanted is not self.record:
                await self._adopt(msgspec.structs.replace(wanted, epoch=self.record.epoch + 1), "", durable=False)

    async def _change(self, change: Callable[[UndoRecord], UndoRecord], *, durable: bool = True) -> None:
        """Compare and swap until it fits. ``change`` may be asked again, with a newer record."""
        if not self._version:
            await self._read()
        while True:
            wanted = change(self.record)
            if wanted is self.record:
                return
            wanted = msgspec.structs.replace(wanted, epoch=self.record.epoch + 1)
            body = _config_map(wanted, self.namespace)
            body["metadata"]["resourceVersion"] = self._version
            try:
                stored = await self.kube.replace(self.path, body)
            except ConflictError:
                await self._read()
            except UnavailableError:
                self._version = ""  # it may have been stored all the same: look before the next write
                raise
            else:
                await self._adopt(wanted, stored["metadata"]["resourceVersion"], durable=durable)
                return

    async def _read(self) -> None:
        found = await self.kube.get(self.path)
        await self._adopt(_decode(found), found["metadata"]["resourceVersion"], durable=False)

    async def _adopt(self, record: UndoRecord, version: str, *, durable: bool) -> None:
        changed, self.record, self._version = record != self.record, record, version
        if self.folder is None or not changed:
            return
        try:
            await asyncio.to_thread(folders.write, self.folder, record)
        except UndoError:
            if durable:  # no fault without both copies; but no full disk keeps a fault from being undone
                raise


@dataclass(frozen=True)
class Found:
    """A record that a target holds; ``damage`` says why it could not be read."""

    store: UndoStore | None
    name: str
    damage: str = ""


async def find_records(kube: Kube, namespaces: list[str] | None = None) -> list[Found]:
    """The records of all runs that a target holds, in these namespaces or (None) in all."""
    places = [paths.collection("v1", "configmaps", name) for name in namespaces or [""]]
    found: list[Found] = []
    for place in places:
        for config_map in await kube.list(place, labels=SELECTOR):
            name = f"{config_map['metadata']['namespace']}/{config_map['metadata']['name']}"
            try:
                found.append(Found(UndoStore.of(kube, config_map), name))
            except UndoError as error:
                found.append(Found(None, name, error.message))
    return found


def name_of(run_id: str) -> str:
    """The ConfigMap's name: the run's id, made fit for Kubernetes where it is not."""
    fit = re.sub(r"[^a-z0-9.-]+", "-", run_id.lower()).strip("-.")
    if fit == run_id and len(fit) <= 200:
        return f"drillbook-undo-{fit}"
    return f"drillbook-undo-{fit[:190]}-{hashlib.blake2b(run_id.encode(), digest_size=4).hexdigest()}"


def _path(namespace: str, run_id: str) -> str:
    return f"{paths.collection('v1', 'configmaps', namespace)}/{name_of(run_id)}"


def _config_map(record: UndoRecord, namespace: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name_of(record.run_id), "namespace": namespace, "labels": dict(LABELS)},
        "data": {KEY: msgspec.json.encode(record).decode()},
    }


def _decode(config_map: dict[str, Any]) -> UndoRecord:
    try:
        return msgspec.json.decode(config_map.get("data", {})[KEY], type=UndoRecord)
    except (KeyError, msgspec.MsgspecError) as error:
        name = config_map["metadata"]["name"]
        raise UndoError(
            f"the undo record {name} cannot be read: {error}",
            hint=f"the run folder's {folders.NAME} holds the same; read it, mend the target, then delete the ConfigMap",
        ) from error
