"""What outlives the agent: one row for each file that was ever ready, in SQLite."""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Step = Literal["waiting", "sent", "done"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    id       INTEGER PRIMARY KEY,
    folder   BLOB    NOT NULL,
    path     BLOB    NOT NULL,  -- below the folder
    size     INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    print    BLOB    NOT NULL,  -- of its beginning and end: cards name files alike, and cameras have no clocks
    key      TEXT    NOT NULL UNIQUE,  -- under which it is uploaded, whoever does it how often
    url      TEXT,              -- where a resumable upload goes on
    sha256   TEXT,
    file_id  INTEGER,
    step     TEXT    NOT NULL DEFAULT 'waiting',
    reason   TEXT,              -- why it went no further
    seen_at  REAL    NOT NULL,
    done_at  REAL,
    UNIQUE (folder, path, size, mtime_ns, print)
) STRICT;
CREATE INDEX IF NOT EXISTS file_step ON file (step, seen_at);
"""


class InUse(Exception):
    """Another agent has this state."""


@dataclass(frozen=True)
class Version:
    """A file as it was when it was ready; another size or time is another one. `path` is below `folder`."""

    folder: str
    path: str
    size: int
    mtime_ns: int
    print: bytes


@dataclass(frozen=True)
class Row:
    """A file, and how far it has come."""

    row_id: int
    version: Version
    key: str
    url: str | None
    sha256: str | None
    file_id: int | None
    step: Step
    seen_at: float
    """When it was first ready: seconds since 1970."""


_AT_ONCE = 500
_COLUMNS = "id, folder, path, size, mtime_ns, print, key, url, sha256, file_id, step, seen_at"


class State:
    """The rows. Several threads may use it; what was written is on the disk."""

    def __init__(self, directory: Path) -> None:
        """Open it, and keep others away from it.

        Raises:
            InUse: An agent runs with it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        # SQLite's own lock: it works wherever SQLite does, and ends with the process.
        self._guard = sqlite3.connect(directory / "lock.db", timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._guard.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            self._guard.close()
            raise InUse(f"an agent is already running with the state in {directory}") from None
        self._lock = threading.RLock()
        self._db = sqlite3.connect(place(directory), isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Let others have it."""
        self._db.close()
        self._guard.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def take(self, versions: Sequence[tuple[Version, str]]) -> list[Row]:
        """Return the rows of these files; those without one get one, with the key given for it."""
        now = time.time()
        with self._writing() as db:
            for version, key in versions:
                db.execute(
                    "INSERT INTO file (folder, path, size, mtime_ns, print, key, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)"
                    " ON CONFLICT (folder, path, size, mtime_ns, print) DO NOTHING",
                    (*_identity(version), key, now),
                )
            where = "folder = ? AND path = ? AND size = ? AND mtime_ns = ? AND print = ?"
            select = f"SELECT {_COLUMNS} FROM file WHERE {where}"  # noqa: S608 - names of this file
            return [_row(db.execute(select, _identity(version)).fetchone()) for version, _ in versions]

    def row(self, row_id: int) -> Row | None:
        """Return a file's row, if there still is one."""
        with self._lock:
            found = self._db.execute(f"SELECT {_COLUMNS} FROM file WHERE id = ?", (row_id,)).fetchone()  # noqa: S608
        return None if found is None else _row(found)

    def steps(self, row_ids: Sequence[int]) -> dict[int, tuple[Step, float]]:
        """Return how far these have come, and since when they are known; of those that there still are."""
        found: dict[int, tuple[Step, float]] = {}
        with self._lock:
            for start in range(0, len(row_ids), _AT_ONCE):
                some = row_ids[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                select = f"SELECT id, step, seen_at FROM file WHERE id IN ({marks})"  # noqa: S608 - question marks
                found |= {row_id: (step, seen_at) for row_id, step, seen_at in self._db.execute(select, some)}
        return found

    def counts(self) -> dict[str, int]:
        """Return how many files there are in each step."""
        with self._lock:
            return dict(self._db.execute("SELECT step, COUNT(*) FROM file GROUP BY step").fetchall())

    def sent(self, most: int, after: int) -> list[Row]:
        """Return files that the server has and that are not done with, by id."""
        select = f"SELECT {_COLUMNS} FROM file WHERE step = 'sent' AND id > ? ORDER BY id LIMIT ?"  # noqa: S608
        with self._lock:
            return [_row(found) for found in self._db.execute(select, (after, most))]

    def note_url(self, row_id: int, url: str | None) -> None:
        """Note where an upload goes on."""
        self._change("UPDATE file SET url = ? WHERE id = ?", url, row_id)

    def note_sha256(self, row_id: int, sha256: str) -> None:
        """Note a file's hash before it is sent: to read it takes long."""
        self._change("UPDATE file SET sha256 = ? WHERE id = ?", sha256, row_id)

    def note_sent(self, row_id: int, file_id: int, sha256: str) -> None:
        """Note that the server has a file."""
        self._change(
            "UPDATE file SET step = 'sent', file_id = ?, sha256 = ?, url = NULL, reason = NULL WHERE id = ?",
            file_id, sha256, row_id,
        )  # fmt: skip

    def note_done(self, row_id: int, reason: str | None = None) -> None:
        """Note that nothing is left to do."""
        self._change("UPDATE file SET step = 'done', reason = ?, done_at = ? WHERE id = ?", reason, time.time(), row_id)

    def note_reason(self, row_id: int, reason: str) -> None:
        """Note why a file goes no further for now."""
        self._change("UPDATE file SET reason = ? WHERE id = ?", reason, row_id)

    def begin_anew(self, row_id: int, key: str, reason: str) -> None:
        """Have a file uploaded as if it had never been."""
        self._change(
            "UPDATE file SET step = 'waiting', key = ?, url = NULL, file_id = NULL, sha256 = NULL, reason = ?,"
            " seen_at = ?, done_at = NULL WHERE id = ?",
            key, reason, time.time(), row_id,
        )  # fmt: skip

    def look_again(self, row_id: int) -> None:
        """Have a file that was done with looked at once more."""
        self._change("UPDATE file SET step = 'sent', done_at = NULL WHERE id = ?", row_id)

    def forget(self, row_id: int) -> None:
        """Drop a file that is not what it was."""
        self._change("DELETE FROM file WHERE id = ?", row_id)

    def forget_done(self, before: float, keep: set[int]) -> None:
        """Drop files that have long been done with, but for those that are still there."""
        with self._writing() as db:
            old = db.execute("SELECT id FROM file WHERE step = 'done' AND done_at < ?", (before,)).fetchall()
            db.executemany("DELETE FROM file WHERE id = ?", [one for one in old if one[0] not in keep])

    def _change(self, sql: str, *values: object) -> None:
        with self._writing() as db:
            db.execute(sql, values)


def place(directory: Path) -> Path:
    """Return where the rows are."""
    return directory / "agent.db"


def counts(directory: Path) -> dict[str, int]:
    """Return how many files there are in each step, whoever has the state."""
    with reading(directory) as db:
        return dict(db.execute("SELECT step, COUNT(*) FROM file GROUP BY step").fetchall())


def oldest(directory: Path) -> float:
    """Return since when the oldest file waits; now, if none does."""
    with reading(directory) as db:
        (since,) = db.execute("SELECT MIN(seen_at) FROM file WHERE step = 'waiting'").fetchone()
    return time.time() if since is None else since


def reasons(directory: Path, most: int) -> list[tuple[str, str]]:
    """Return files that can't go on, and why."""
    with reading(directory) as db:
        select = "SELECT path, reason FROM file WHERE step <> 'done' AND reason IS NOT NULL ORDER BY seen_at LIMIT ?"
        return [(os.fsdecode(path), reason) for path, reason in db.execute(select, (most,))]


@contextmanager
def reading(directory: Path) -> Iterator[sqlite3.Connection]:
    """Open the rows to look at them."""
    db = sqlite3.connect(place(directory), isolation_level=None)
    try:
        db.execute("PRAGMA query_only = TRUE")
        yield db
    finally:
        db.close()


def _identity(version: Version) -> tuple[bytes, bytes, int, int, bytes]:
    return (
        os.fsencode(version.folder), os.fsencode(version.path), version.size, version.mtime_ns, version.print
    )  # fmt: skip


def _row(found: tuple[int, bytes, bytes, int, int, bytes, str, str | None, str | None, int | None, Step, float]) -> Row:
    row_id, folder, path, size, mtime_ns, prints, *rest = found
    version = Version(os.fsdecode(folder), os.fsdecode(path), size, mtime_ns, prints)
    return Row(row_id, version, *rest)  # type: ignore[arg-type] # as selected
