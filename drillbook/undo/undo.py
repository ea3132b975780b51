"""Undoing all that one record holds: fence first, then the last fault first, then look again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec

from drillbook import clock
from drillbook.errors import UndoError
from drillbook.model.undo import EntryState, SignalProcess, UndoEntry, UndoOperation
from drillbook.targets.answers import ApiError, UnavailableError
from drillbook.undo import lease
from drillbook.undo.operations import Outcome, carry_out
from drillbook.undo.record import UndoStore

UNDO_SECONDS = 30.0
"""How long the undo of one record is tried before it counts as failed; ``recover`` may try again at any time."""

Tell = Callable[[UndoEntry], None]
_ENDED = (EntryState.UNDONE, EntryState.GONE, EntryState.SUPERSEDED)
_WORST = (*_ENDED, EntryState.FAILED)


async def undo_all(
    store: UndoStore, by: str, *, seconds: float = UNDO_SECONDS, tell: Tell = lambda _: None, sparing: str = ""
) -> list[UndoEntry]:
    """Close the record to injection, undo every entry (those undone before are verified again), last first.

    Call it as often as you like: it only ever puts things back. ``tell`` hears of each entry as soon as it is done.
    Once another run holds the target, what had been undone before is not looked at again: what is broken there now is
    that run's to undo. The entry ``sparing`` is left for later.

    :raises UndoError: the record could not be closed: while the API server is away nothing is certain.
    """
    until = clock.monotonic() + seconds
    await _persist(lambda: store.close(by), until)
    anothers = any(entry.state in _ENDED for entry in store.record.entries) and await _is_anothers(store)
    done = []
    for entry in reversed(store.record.entries):
        if entry.id == sparing:
            continue
        done.append(entry if anothers and entry.state in _ENDED else await _undo(store, entry, until))
        tell(done[-1])
    return done


async def _is_anothers(store: UndoStore) -> bool:
    try:
        return await lease.is_anothers(store.kube, store.namespace, store.record.run_id)
    except (ApiError, UnavailableError):
        return False


async def undo_entry(store: UndoStore, entry_id: str, *, seconds: float = UNDO_SECONDS) -> UndoEntry:
    """Undo one fault in the middle of a run; the record stays open for others.

    :raises UndoError: there is no such entry.
    """
    for entry in store.record.entries:
        if entry.id == entry_id:
            return await _undo(store, entry, clock.monotonic() + seconds)
    raise UndoError(f"run {store.record.run_id} has no undo entry {entry_id!r}")


async def _undo(store: UndoStore, entry: UndoEntry, until: float) -> UndoEntry:
    outcome = _together(await _carry_out(store, entry.operations[::-1], until))
    if entry.state in _ENDED and outcome.state is not EntryState.FAILED:
        return entry  # it had ended before, and how it ended then stays true
    try:
        await _persist(lambda: store.mark(entry.id, outcome.state, outcome.detail), until)
    except UndoError as error:
        failed = f"{outcome.detail}; not written down: {error}"
        return msgspec.structs.replace(entry, state=EntryState.FAILED, detail=failed)
    return msgspec.structs.replace(entry, state=outcome.state, detail=outcome.detail)


async def _carry_out(store: UndoStore, operations: Sequence[UndoOperation], until: float) -> list[Outcome]:
    """One after the other; but processes go on all at once, for no container waits for another's."""

    def one(operation: UndoOperation) -> Coroutine[Any, Any, Outcome]:
        return carry_out(store.kube, operation, seconds=max(until - clock.monotonic(), 0.0))

    if all(isinstance(operation, SignalProcess) for operation in operations):
        return list(await asyncio.gather(*map(one, operations)))
    return [await one(operation) for operation in operations]


def _together(outcomes: list[Outcome]) -> Outcome:
    if not outcomes:
        return Outcome(EntryState.GONE, "nothing to undo")
    state = max((outcome.state for outcome in outcomes), key=_WORST.index)
    return Outcome(state, "; ".join(outcome.detail for outcome in outcomes))


async def _persist(write: Callable[[], Awaitable[None]], until: float) -> None:
    """Write to the record, over an API server's absence."""
    pause = 0.1
    while True:
        try:
            await write()
        except UnavailableError as error:
            if clock.monotonic() + pause >= until:
                raise UndoError(
                    f"the undo record cannot be written: {error}",
                    hint="when the API server is back: drillbook recover",
                ) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)
        else:
            return
