"""The copy of the undo record in the run folder: ``undo.json``, atomic, durable, never older than what it replaces."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import msgspec

from drillbook.errors import UndoError
from drillbook.model.undo import UndoRecord

NAME = "undo.json"


def write(folder: Path, record: UndoRecord) -> None:
    """Replace the copy unless it is newer (by epoch); on the disk, with its directory entry, when this returns.

    :raises UndoError: the file system refuses.
    """
    try:
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(
                directory, fcntl.LOCK_EX
            )  # runner, watchdog and recover may all write; the lock is let go by close
            there = read(folder)
            if there is not None and there.run_id == record.run_id and there.epoch > record.epoch:
                return
            draft = folder / f".{NAME}.{os.getpid()}"
            with draft.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(folder / NAME)
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise UndoError(
            f"{folder / NAME} cannot be written: {error.strerror}",
            hint="free some space there, or choose another folder with --runs",
        ) from error


def read(folder: Path) -> UndoRecord | None:
    """The copy, or None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=UndoRecord)
    except (OSError, msgspec.MsgspecError):
        return None
