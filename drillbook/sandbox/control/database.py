"""The objects on disk: one SQLite file in WAL mode that survives ``kill -9`` of the process.

An answer is sent only after its commit. WAL with ``synchronous=NORMAL`` keeps every commit over the death of the
process; a power cut may lose the last ones, which a sandbox can bear and an fsync per write it could not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path


class Database:
    """One row per object, and the highest revision ever given out."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
            "CREATE TABLE IF NOT EXISTS object (resource TEXT, namespace TEXT, name TEXT, revision INTEGER, body BLOB,"
            " PRIMARY KEY (resource, namespace, name)) WITHOUT ROWID;"
            "CREATE TABLE IF NOT EXISTS revision (id INTEGER PRIMARY KEY CHECK (id = 0), last INTEGER);"
            "INSERT OR IGNORE INTO revision VALUES (0, 0);"
        )

    def rows(self) -> Iterator[tuple[str, str, str, int, bytes]]:
        yield from self._connection.execute("SELECT resource, namespace, name, revision, body FROM object")

    def last_revision(self) -> int:
        (found,) = self._connection.execute(
            "SELECT max(last, (SELECT coalesce(max(revision), 0) FROM object)) FROM revision"
        ).fetchone()
        return int(found)

    def put(self, resource: str, namespace: str, name: str, revision: int, body: bytes) -> None:
        self._connection.execute(
            "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?)", (resource, namespace, name, revision, body)
        )

    def remove(self, resource: str, namespace: str, name: str, revision: int) -> None:
        """The revision of a deletion outlives its row, lest the number be given out again."""
        run = self._connection.execute
        run("BEGIN")
        run("DELETE FROM object WHERE resource = ? AND namespace = ? AND name = ?", (resource, namespace, name))
        run("UPDATE revision SET last = ?", (revision,))
        run("COMMIT")

    def close(self) -> None:
        self._connection.close()
