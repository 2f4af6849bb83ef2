"""The chain on disk: SQLite, one transaction for each block, so that a kill at any moment leaves whole blocks.

Beside the state at the head lie, for the recent blocks, the values that each block replaced: with them the state at an
older block is read, and a block is taken back.
"""

import sqlite3
from pathlib import Path

from roadvault_devnet import scale
from roadvault_devnet.block import Block
from roadvault_devnet.errors import CannotStart
from roadvault_devnet.state import Changes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS block (
    number INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, parent_hash BLOB NOT NULL, state_root BLOB NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS state (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS undo (
    key BLOB NOT NULL, number INTEGER NOT NULL, value BLOB, PRIMARY KEY (key, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS undo_number ON undo (number);
CREATE TABLE IF NOT EXISTS held (cid TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_BLOCK = "SELECT number, parent_hash, state_root, body FROM block"


class Store:
    """One chain's file. Used from one thread; its transactions are short enough for the event loop."""

    def __init__(self, directory: Path) -> None:
        """Open the chain in a directory, or begin one there.

        Raises:
            CannotStart: Another network runs on it.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(directory / "chain.sqlite", isolation_level=None, timeout=1)
        try:
            # One network for each directory; a kill loses nothing in this mode, only a power cut may.
            for pragma in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self._database.execute(f"PRAGMA {pragma}")
            self._database.executescript(_SCHEMA)
        except sqlite3.OperationalError as error:
            self._database.close()
            raise CannotStart(f"the chain in {directory} cannot be opened: {error}") from error

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def meta(self, name: str) -> bytes | None:
        """Return a remembered value."""
        row = self._database.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else bytes(row[0])

    def set_meta(self, name: str, value: bytes) -> None:
        """Remember a value."""
        self._database.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def state(self) -> dict[bytes, bytes]:
        """Return the whole state at the head."""
        return dict(self._database.execute("SELECT key, value FROM state").fetchall())

    def block_at(self, number: int) -> Block | None:
        """Return a block by its height."""
        return _block(self._database.execute(f"{_BLOCK} WHERE number = ?", (number,)).fetchone())

    def block_of(self, block_hash: bytes) -> Block | None:
        """Return a block by its hash."""
        return _block(self._database.execute(f"{_BLOCK} WHERE hash = ?", (block_hash,)).fetchone())

    def head(self) -> Block | None:
        """Return the newest block."""
        return _block(self._database.execute(f"{_BLOCK} ORDER BY number DESC LIMIT 1").fetchone())

    def append(self, block: Block, changes: Changes, replaced: Changes, forget_below: int) -> None:
        """Add a block with what it changed and what stood there before; forget old values below a height."""
        with self._database as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            row = (block.number, block.hash, block.parent_hash, block.state_root, _encode_body(block.body))
            transaction.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?)", row)
            undo = [(key, block.number, value) for key, value in replaced.items()]
            transaction.executemany("INSERT INTO undo VALUES (?, ?, ?)", undo)
            self._write(transaction, changes)
            transaction.execute("DELETE FROM undo WHERE number < ?", (forget_below,))

    def take_back(self, block: Block) -> Changes:
        """Remove the newest block; return the values as they were before it."""
        with self._database as transaction:
            transaction.execute("BEGIN IMMEDIATE")
            rows = transaction.execute("SELECT key, value FROM undo WHERE number = ?", (block.number,)).fetchall()
            before: Changes = dict(rows)
            self._write(transaction, before)
            transaction.execute("DELETE FROM undo WHERE number = ?", (block.number,))
            transaction.execute("DELETE FROM block WHERE number = ?", (block.number,))
        return before

    def before_change(self, key: bytes, number: int) -> tuple[bool, bytes | None]:
        """Return whether a key changed after a height, and if so the value that it had at that height."""
        query = "SELECT value FROM undo WHERE key = ? AND number > ? ORDER BY number LIMIT 1"
        row = self._database.execute(query, (key, number)).fetchone()
        return (False, None) if row is None else (True, row[0])

    def changed_keys(self, number: int) -> set[bytes]:
        """Return the keys that changed after a height."""
        rows = self._database.execute("SELECT DISTINCT key FROM undo WHERE number > ?", (number,))
        return {row[0] for row in rows}

    def held(self) -> set[str]:
        """Return the CIDs that the storage node has pinned."""
        return {row[0] for row in self._database.execute("SELECT cid FROM held")}

    def set_held(self, cid: str, *, held: bool) -> None:
        """Note that the storage node has pinned a CID, or has not any more."""
        query = "INSERT OR IGNORE INTO held VALUES (?)" if held else "DELETE FROM held WHERE cid = ?"
        self._database.execute(query, (cid,))

    @staticmethod
    def _write(transaction: sqlite3.Connection, changes: Changes) -> None:
        kept = [(key, value) for key, value in changes.items() if value is not None]
        removed = [(key,) for key, value in changes.items() if value is None]
        transaction.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", kept)
        transaction.executemany("DELETE FROM state WHERE key = ?", removed)


def _encode_body(body: tuple[bytes, ...]) -> bytes:
    return scale.compact(len(body)) + b"".join(scale.byte_string(extrinsic) for extrinsic in body)


def _block(row: tuple[int, bytes, bytes, bytes] | None) -> Block | None:
    if row is None:
        return None
    number, parent_hash, state_root, encoded = row
    cursor = scale.Cursor(encoded)
    body = tuple(cursor.byte_string() for _ in range(cursor.compact()))
    return Block(number, parent_hash, state_root, body)
