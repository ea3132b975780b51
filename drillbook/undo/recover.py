"""``drillbook recover``: find what any run left at a target, and undo it.

The target's own records are enough: a run folder may be lost. Where a target's record is lost instead, the copy in the
run folder serves, for the cluster that it was written for and no other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec

from drillbook import clock
from drillbook.errors import UndoError
from drillbook.model.undo import EntryState, UndoEntry, UndoRecord
from drillbook.targets.answers import UnavailableError
from drillbook.targets.kube import Kube
from drillbook.targets.target import Target
from drillbook.undo import folder as folders
from drillbook.undo import lease
from drillbook.undo.logbook import Logbook
from drillbook.undo.record import UndoStore, find_records
from drillbook.undo.undo import UNDO_SECONDS, undo_all


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """One run's record, as found or as ``recover`` left it."""

    run_id: str
    experiment: str
    namespace: str
    folder: str
    """The run folder, where it is known here."""
    entries: tuple[UndoEntry, ...]
    remains: bool
    """Whether something of the run may still be in place."""
    summary: str


async def find(target: Target, runs: Path) -> list[Leftover]:
    """The records at the target, and copies in run folders below ``runs`` of records that the target has lost.

    :raises UnreachableError: the target does not answer.
    """
    kube, namespace = target.kube, target.namespace
    copies = await asyncio.to_thread(_copies, runs)
    found: list[Leftover] = []
    for each in await find_records(kube, [namespace]):
        if each.store is None:
            found.append(_damaged(each.name, namespace, each.damage))
        else:
            record = each.store.record
            found.append(_leftover(record, namespace, str(copies.pop(record.run_id, ("", None))[0]), _state(record)))
    if any(record.remaining for _, record in copies.values()):
        cluster = await kube.cluster()
        for folder, record in copies.values():
            if record.remaining and (record.cluster, record.namespace) == (cluster, namespace):
                summary = f"{_state(record)}; its record at the target is lost, the run folder's is used"
                found.append(_leftover(record, namespace, str(folder), summary))
    return found


async def recover(
    target: Target, found: Sequence[Leftover], *, force: bool = False, seconds: float = UNDO_SECONDS
) -> list[Leftover]:
    """Undo each, and delete the records that are clean then. Several at once do no harm.

    A run that is seen to be alive (it renews its Lease) is left alone, except with ``force``.
    """
    return [await _recover(target.kube, each, seconds, force=force) for each in found]


async def _recover(kube: Kube, left: Leftover, seconds: float, *, force: bool) -> Leftover:
    if not left.run_id:
        return left
    folder = Path(left.folder) if left.folder else None
    try:
        store = await UndoStore.open(kube, left.namespace, left.run_id, folder)
        if not force and not store.record.closed and await _is_alive(kube, store):
            alive = "is running: its Lease is being renewed; left alone (--force undoes it all the same)"
            return _leftover(store.record, left.namespace, left.folder, alive)
        before = len(store.record.remaining)
        entries = await undo_all(store, "recover", seconds=seconds, tell=Logbook(folder, "recover").tell)
        failed = [f"{entry.id}: {entry.detail}" for entry in entries if entry.state is EntryState.FAILED]
        if failed:
            return _leftover(store.record, left.namespace, left.folder, "NOT UNDONE: " + "; ".join(failed))
        await lease.take_from(kube, store.namespace, left.run_id)
        await store.remove()
    except (UndoError, UnavailableError) as error:
        return msgspec.structs.replace(left, summary=f"NOT UNDONE: {error}", remains=True)
    done = "; ".join(f"{entry.id} {entry.state.value}: {entry.detail}" for entry in entries)
    return _leftover(store.record, left.namespace, left.folder, done if before else "clean")


async def _is_alive(kube: Kube, store: UndoStore) -> bool:
    """Whether the run renews its Lease, watched for as long as a Lease lasts."""
    run_id, namespace = store.record.run_id, store.namespace
    first = await lease.read_version(kube, namespace, run_id)
    until = clock.monotonic() + store.record.heartbeat_seconds + lease.RENEW_SECONDS
    while first and clock.monotonic() < until:
        await asyncio.sleep(lease.LOOK_SECONDS)
        now = await lease.read_version(kube, namespace, run_id)
        if now != first:
            return bool(now)
    return False


def _copies(runs: Path) -> dict[str, tuple[Path, UndoRecord]]:
    found = {}
    for path in sorted(runs.glob(f"*/*/{folders.NAME}")):
        record = folders.read(path.parent)
        if record is not None and not path.parent.is_symlink():
            found[record.run_id] = (path.parent, record)
    return found


def _state(record: UndoRecord) -> str:
    left = len(record.remaining)
    return f"{left} of {len(record.entries)} fault(s) to be undone" if left else "nothing is left"


def _leftover(record: UndoRecord, namespace: str, folder: str, summary: str) -> Leftover:
    return Leftover(
        run_id=record.run_id,
        experiment=record.experiment,
        namespace=namespace,
        folder=folder,
        entries=record.entries,
        remains=bool(record.remaining),
        summary=summary,
    )


def _damaged(name: str, namespace: str, damage: str) -> Leftover:
    return Leftover(
        run_id="", experiment="", namespace=namespace, folder="", entries=(), remains=True, summary=f"{name}: {damage}"
    )
