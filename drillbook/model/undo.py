"""Undo as data: a small closed set of operations, each guarded by identity and by the value that we wrote.

Because nothing here is code, any machine that can reach the target can undo, without the experiment, without the user's
Python and without the process that injected the fault. See ``drillbook/undo`` for what carries these out.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec


class ObjectRef(msgspec.Struct, frozen=True, kw_only=True):
    """One Kubernetes object. ``uid`` tells it from a namesake that came later."""

    api_version: str
    kind: str
    plural: str
    namespace: str
    """Empty for cluster-scoped objects."""
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}"


class ProcessRef(msgspec.Struct, frozen=True, kw_only=True):
    """One process inside one container. Its start time tells it from a namesake that was given the same pid."""

    pid: int
    """As the container's own PID namespace numbers it."""
    start_time: int
    """Field 22 of ``/proc/<pid>/stat``: clock ticks since boot."""
    title: str


class SignalProcess(msgspec.Struct, frozen=True, kw_only=True, tag="signal-process"):
    """Send ``signal`` (``CONT``) to processes that we stopped, if they are still those very processes."""

    pod: ObjectRef
    container: str
    container_id: str
    processes: tuple[ProcessRef, ...]
    signal: str


class FieldChange(msgspec.Struct, frozen=True, kw_only=True):
    """One field that we wrote. ``before`` is None with ``existed`` false where the field was not there."""

    path: tuple[str | int, ...]
    existed: bool
    before: Any
    wrote: Any


class RestoreFields(msgspec.Struct, frozen=True, kw_only=True, tag="restore-fields"):
    """Put fields back, each only while it still holds what we wrote; else it ends as ``superseded``."""

    object: ObjectRef
    fields: tuple[FieldChange, ...]
    subresource: str = ""
    """``status`` where the fields are of the status, which is written through a path of its own."""


class RemoveItem(msgspec.Struct, frozen=True, kw_only=True, tag="remove-item"):
    """Take out of a list the one item that we put there; what others put there meanwhile stays."""

    object: ObjectRef
    path: tuple[str | int, ...]
    item: dict[str, Any]
    """As we wrote it. The server may have added keys to it (a taint's ``timeAdded``)."""


class DeleteObject(msgspec.Struct, frozen=True, kw_only=True, tag="delete-object"):
    """Delete an object that we made (by uid)."""

    object: ObjectRef


class ClearLink(msgspec.Struct, frozen=True, kw_only=True, tag="clear-link"):
    """Take our rules off a pod's network, whoever left them there, by a helper pod on its node."""

    pod: ObjectRef
    helper: dict[str, Any]
    """The manifest of that helper pod; where ``container`` is named, of an ephemeral container."""
    container: str = ""
    """The pod's ephemeral container that holds a rule, and is ended first."""


UndoOperation = SignalProcess | RestoreFields | RemoveItem | DeleteObject | ClearLink


HEARTBEAT = 10.0
"""Seconds that a runner may be silent before others count it as dead, as long as leaders in Kubernetes may be. One that
really died leaves the pipe of its local watchdog at once, which does not wait for this. Five were too few for an API
server beside engines that load their models (seen on two cores)."""


LOAD = "load"
"""The entry of what was made to send the load: no fault, and taken away after all that is."""


class EntryState(enum.StrEnum):
    """One undo entry's life: ``armed`` before its fault is injected, then exactly one of the others."""

    ARMED = "armed"
    UNDONE = "undone"
    GONE = "gone"
    """What the fault touched no longer exists (the pod was replaced), so nothing is left to undo."""
    SUPERSEDED = "superseded"
    """Someone else wrote the field meanwhile; reported and left alone."""
    FAILED = "failed"


class UndoEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The undo of one fault step: written before the fault, closed after the undo was verified."""

    id: str
    fault: str
    operations: tuple[UndoOperation, ...]
    state: EntryState = EntryState.ARMED
    detail: str = ""


class UndoRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything one run may have to put back; equal in the run folder and, as a ConfigMap, at the target.

    ``closed`` fences injection: whoever undoes first sets it by compare-and-swap on the resourceVersion, and a runner
    that then wakes up late may not inject any more.
    """

    run_id: str
    experiment: str
    cluster: str = ""
    """Which cluster: the uid of its ``kube-system`` namespace. A copy in a run folder is never undone elsewhere."""
    namespace: str = ""
    """The target's namespace, where the record lies."""
    epoch: int = 0
    """Grows with every write; the higher one is the truth."""
    closed: bool = False
    closed_by: str = ""
    heartbeat_seconds: float = HEARTBEAT
    """A watchdog undoes when it has seen no new heartbeat for this long on its own monotonic clock."""
    entries: tuple[UndoEntry, ...] = ()

    @property
    def remaining(self) -> tuple[UndoEntry, ...]:
        """What may still have to be undone; a fault without any undo (a killed pod) leaves nothing."""
        open_states = (EntryState.ARMED, EntryState.FAILED)
        return tuple(entry for entry in self.entries if entry.operations and entry.state in open_states)
