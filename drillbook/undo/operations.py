"""Carrying out one undo operation: idempotent, guarded by identity and by what we wrote, and looked at again after it.

Asking twice does no harm and changes nothing: what has been undone is found undone. So every operation may be repeated
by anyone, at any time, as often as it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from drillbook import clock
from drillbook.errors import DrillbookError
from drillbook.model.undo import (
    ClearLink,
    DeleteObject,
    EntryState,
    FieldChange,
    ObjectRef,
    RemoveItem,
    RestoreFields,
    SignalProcess,
    UndoOperation,
)
from drillbook.targets import paths, processes
from drillbook.targets.answers import ApiError, ConflictError, InvalidError, NotFoundError, UnavailableError
from drillbook.targets.kube import Kube
from drillbook.undo import links

PAUSE = 0.2
"""Seconds between two attempts; doubled up to 2 s while the API server is away."""


@dataclass(frozen=True)
class Outcome:
    """How one operation ended."""

    state: EntryState
    detail: str


async def carry_out(kube: Kube, operation: UndoOperation, *, seconds: float) -> Outcome:
    """Undo one thing, trying again for ``seconds`` while the API server is away or the target resists."""
    until = clock.monotonic() + seconds
    pause = PAUSE
    while True:
        try:
            async with asyncio.timeout(max(until - clock.monotonic(), 1.0)):
                outcome = await _attempt(kube, operation)
            if outcome.state is not EntryState.FAILED:
                return outcome
        except DrillbookError as error:
            outcome = Outcome(EntryState.FAILED, str(error))
            if isinstance(error, UnavailableError):
                pause = min(pause * 2, 2.0)
        except TimeoutError:
            outcome = Outcome(EntryState.FAILED, f"{describe(operation)}: not done within {seconds:.0f} s")
        except Exception as error:  # noqa: BLE001 - what one object makes of our code may not keep others broken
            outcome = Outcome(EntryState.FAILED, f"{describe(operation)}: {type(error).__name__}: {error}")
        if clock.monotonic() + pause >= until:
            return outcome
        await asyncio.sleep(pause)


def describe(operation: UndoOperation) -> str:
    """One operation in words, for plans, logs and ``recover``."""
    match operation:
        case SignalProcess():
            who = ", ".join(f"{ref.title} (pid {ref.pid})" for ref in operation.processes)
            return f"send SIG{operation.signal} to {who} in {operation.pod.name}/{operation.container}"
        case RestoreFields():
            what = ", ".join(
                f"{pointer(field.path)} back to {field.before}" if field.existed else f"remove {pointer(field.path)}"
                for field in operation.fields
            )
            return f"set {what} in {operation.object}"
        case RemoveItem():
            return f"take {operation.item} out of {pointer(operation.path)} of {operation.object}"
        case DeleteObject():
            return f"delete {operation.object}"
        case ClearLink():
            return f"clear what helpers left at {operation.pod}"


async def _attempt(kube: Kube, operation: UndoOperation) -> Outcome:
    match operation:
        case SignalProcess():
            return await _signal(kube, operation)
        case RestoreFields():
            return await _restore(kube, operation)
        case RemoveItem():
            return await _remove_item(kube, operation)
        case DeleteObject():
            return await _delete(kube, operation.object)
        case ClearLink():
            found = await links.clear(kube, operation)
            state = EntryState.GONE if found is None else EntryState.UNDONE
            return Outcome(state, f"{operation.pod}: {found or 'it is gone'}")


async def _signal(kube: Kube, operation: SignalProcess) -> Outcome:
    gone = await _container_gone(kube, operation)
    if gone:
        return Outcome(EntryState.GONE, gone)
    try:
        seen = await processes.look(kube, operation.pod, operation.container)
        left = _unsettled(operation, seen)
        if left:
            seen = await processes.signal(kube, operation.pod, operation.container, left, operation.signal)
        if _unsettled(operation, seen):  # it answered from within the moment: the kernel may have needed another
            seen = await processes.look(kube, operation.pod, operation.container)
    except (NotFoundError, ApiError):
        gone = await _container_gone(kube, operation)  # it may have ended between the look and the exec
        if gone:
            return Outcome(EntryState.GONE, gone)
        raise
    still = _unsettled(operation, seen)
    if still:
        names = ", ".join(f"{ref.title} (pid {ref.pid})" for ref in still)
        return Outcome(EntryState.FAILED, f"{names} in {operation.pod.name} is still stopped")
    alive = [ref for ref in operation.processes if (process := processes.find(seen, ref)) and process.alive]
    if not alive:
        return Outcome(EntryState.GONE, f"the processes in {operation.pod.name} have ended")
    return Outcome(EntryState.UNDONE, f"{len(alive)} process(es) in {operation.pod.name} run again")


def _unsettled(operation: SignalProcess, seen: tuple[processes.Process, ...]) -> tuple[Any, ...]:
    found = (processes.find(seen, ref) for ref in operation.processes)
    return tuple(process.ref for process in found if process is not None and process.stopped)


async def _container_gone(kube: Kube, operation: SignalProcess) -> str:
    """Why the very container is no longer there; empty while it is."""
    pod = await _find(kube, operation.pod)
    if pod is None:
        return f"pod {operation.pod.name} was replaced"
    for status in pod.get("status", {}).get("containerStatuses") or []:
        if status["name"] == operation.container:
            if status.get("containerID") != operation.container_id:
                return f"container {operation.container} of {operation.pod.name} was restarted"
            ended = "terminated" in (status.get("state") or {})
            return f"container {operation.container} of {operation.pod.name} has ended" if ended else ""
    return ""


async def _restore(kube: Kube, operation: RestoreFields) -> Outcome:
    ref = operation.object
    superseded: list[str] = []
    for _ in range(5):
        current = await _find(kube, ref)
        if current is None:
            return Outcome(EntryState.GONE, f"{ref} no longer exists")
        ours = [field for field in operation.fields if value_at(current, field.path) == (True, field.wrote)]
        superseded = [
            f"{pointer(field.path)} of {ref} is {value_at(current, field.path)[1]!r}: not our {field.wrote!r} any more"
            for field in operation.fields
            if field not in ours and not _is_restored(current, field)
        ]
        if not ours:
            break
        try:
            await kube.patch("/".join(filter(None, (paths.of(ref), operation.subresource))), _patch(ref, ours), "json")
        except (ConflictError, InvalidError):
            continue  # somebody wrote in between: look again
    else:
        return Outcome(EntryState.FAILED, f"{ref} changes too fast to be restored")
    if superseded:
        return Outcome(EntryState.SUPERSEDED, "; ".join(superseded))
    return Outcome(EntryState.UNDONE, f"{ref}: {len(operation.fields)} field(s) are as before")


def _patch(ref: ObjectRef, fields: list[FieldChange]) -> list[dict[str, Any]]:
    patch: list[dict[str, Any]] = [{"op": "test", "path": "/metadata/uid", "value": ref.uid}]
    for field in fields:
        path = pointer(field.path)
        patch.append({"op": "test", "path": path, "value": field.wrote})
        patch.append(
            {"op": "replace", "path": path, "value": field.before} if field.existed else {"op": "remove", "path": path}
        )
    return patch


def _is_restored(current: dict[str, Any], field: FieldChange) -> bool:
    exists, value = value_at(current, field.path)
    return exists == field.existed and (not exists or value == field.before)


def value_at(document: Any, path: tuple[str | int, ...]) -> tuple[bool, Any]:
    """Whether a field is there, and what it holds."""
    for key in path:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return False, None
    return True, document


def pointer(path: tuple[str | int, ...]) -> str:
    """The path as a JSON Pointer (RFC 6901)."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


async def _remove_item(kube: Kube, operation: RemoveItem) -> Outcome:
    ref = operation.object
    for _ in range(5):
        current = await _find(kube, ref)
        if current is None:
            return Outcome(EntryState.GONE, f"{ref} no longer exists")
        items = value_at(current, operation.path)[1] or []
        place = next((i for i, item in enumerate(items) if operation.item.items() <= item.items()), None)
        if place is None:
            return Outcome(EntryState.UNDONE, f"{ref} has no {operation.item} any more")
        path = pointer((*operation.path, place))
        patch = [
            {"op": "test", "path": "/metadata/uid", "value": ref.uid},
            {"op": "test", "path": path, "value": items[place]},
            {"op": "remove", "path": path},
        ]
        with contextlib.suppress(ConflictError, InvalidError):  # somebody wrote in between: look again
            await kube.patch(paths.of(ref), patch, "json")
    return Outcome(EntryState.FAILED, f"{ref} changes too fast for {operation.item} to be taken out")


async def _delete(kube: Kube, ref: ObjectRef) -> Outcome:
    if await _find(kube, ref) is None:
        return Outcome(EntryState.GONE, f"{ref} no longer exists")
    try:
        await kube.delete(paths.of(ref), uid=ref.uid)
    except (NotFoundError, ConflictError):
        return Outcome(EntryState.GONE, f"{ref} no longer exists")
    for _ in range(20):
        if await _find(kube, ref) is None:
            return Outcome(EntryState.UNDONE, f"{ref} is deleted")
        await asyncio.sleep(PAUSE)
    return Outcome(EntryState.FAILED, f"{ref} is marked for deletion but still there (a finalizer?)")


async def _find(kube: Kube, ref: ObjectRef) -> dict[str, Any] | None:
    """The very object, by uid."""
    found = await kube.find(paths.of(ref))
    return found if found is not None and (not ref.uid or found["metadata"]["uid"] == ref.uid) else None
