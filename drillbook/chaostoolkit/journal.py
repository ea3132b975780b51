"""``journal.json`` of a run, in Chaos Toolkit's own form: whole at any moment, so that ``chaos report`` can read it.

It is replaced in one step and fsynced after every activity and before every action, so it outlives ``kill -9``; until
the run ends it says ``interrupted``. What Chaos Toolkit has no place for stands under the key ``drillbook``.
"""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import drillbook
from drillbook import clock
from drillbook.chaostoolkit.load import Json
from drillbook.chaostoolkit.plain import plain
from drillbook.chaostoolkit.redaction import Redactor
from drillbook.errors import DrillbookError, UsageError

FILENAME = "journal.json"
LIB_VERSION = "1.44.0"
"""The version of chaoslib whose form this is."""


class Journal:
    """The record of one run, in memory and on the disk."""

    def __init__(self, folder: Path, data: Json, redactor: Redactor) -> None:
        self.path, self.data, self._redactor = folder.absolute() / FILENAME, data, redactor
        self.durable = True
        """Whether what cannot be written stops the run. From the rollbacks on it does not: full disks save no fault."""
        self.trouble = ""
        """Why it could not be written of late."""
        self._began = clock.monotonic()

    @classmethod
    def begin(cls, folder: Path, experiment: Json, redactor: Redactor, **facts: Any) -> Journal:
        """A new one. ``facts`` (run id, path, hash, strategies) go under ``drillbook``."""
        data = {
            **head(experiment, now()),
            "drillbook": {"version": drillbook.__version__, "ended": False, "notes": [], **facts},
        }
        return cls(folder, data, redactor)

    @property
    def ours(self) -> Json:
        """The part that is drillbook's own."""
        found: Json = self.data["drillbook"]
        return found

    def note(self, text: str) -> None:
        """Something that Chaos Toolkit's journal has no place for, and that makes the run less than whole."""
        self.ours["notes"].append(text)

    def save(self) -> None:
        """Put it on the disk, in one step.

        Raises:
            DrillbookError: the file system refuses, and the run must not go on without its record (``durable``).

        """
        self.data["end"], self.data["duration"] = now(), round(clock.monotonic() - self._began, 6)
        text = json.dumps(self.written, indent=1, ensure_ascii=False)
        part = self.path.with_name(f".{FILENAME}.{os.getpid()}")
        try:
            with part.open("w", encoding="utf-8") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.path)
            self.trouble = ""
        except OSError as error:
            self.trouble = f"{self.path} cannot be written: {error.strerror}"
            if not self.durable:
                return
            raise DrillbookError(self.trouble, "free some space there, or choose another --runs") from error

    @property
    def written(self) -> Json:
        """As it stands on the disk: plain data, without secrets."""
        found: Json = self._redactor.data(plain(self.data))
        return found

    def hide(self, text: str) -> str:
        """A text without the secrets of the run."""
        return self._redactor.text(text)


def head(experiment: Json, start: str) -> Json:
    """The keys that every journal of Chaos Toolkit has."""
    return {
        "chaoslib-version": LIB_VERSION,
        "platform": platform.platform(),
        "node": platform.node(),
        "experiment": experiment,
        "start": start,
        "status": "interrupted",
        "deviated": False,
        "steady_states": {"before": None, "after": None, "during": []},
        "run": [],
        "rollbacks": [],
        "end": start,
        "duration": 0.0,
    }


def now() -> str:
    """UTC, as Chaos Toolkit writes it."""
    return datetime.fromtimestamp(clock.wall(), UTC).isoformat()


def is_here(folder: Path) -> bool:
    """Whether a run folder is that of a Chaos Toolkit experiment."""
    return (folder / FILENAME).is_file() and not (folder / "journal.jsonl").exists()


def read(folder: Path) -> Json:
    """The journal of an old run.

    Raises:
        UsageError: it cannot be read, or is none of ours.

    """
    path = folder / FILENAME
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}", "name the folder of a run") from error
    shape = (
        isinstance(data, dict) and isinstance(data.get("drillbook"), dict) and isinstance(data.get("experiment"), dict)
    )
    if not shape:
        raise UsageError(
            f"{path} was not written by drillbook", "`chaos report` reads journals of Chaos Toolkit itself"
        )
    found: Json = data
    return found
