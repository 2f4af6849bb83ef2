"""Stretches of the log as bytes, to be kept elsewhere, and brought back into a database that has those before.

gzip of lines of text: first JSON with `first` (the position of the first line), `before` (the hash of the line before)
and `hash` (of the last line), then each line as it was hashed. Nothing else is needed to make all hashes anew.

Behind lines that a person accepted though they don't give their hash, `follows` has the position of the line that each
follows, and `stated` the hashes of those lines themselves, by their positions: nothing else in the log tells either.
"""

import asyncio
import gzip
import zlib
from collections.abc import Sequence
from typing import Any

import orjson

from roadvault_common.custody import check, fault_store, store
from roadvault_common.custody.chain import NONE, Head, Stated, parse, text
from roadvault_common.custody.chainer import place_behind
from roadvault_common.errors import IntegrityError, PermanentError
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Row, Transaction

MOST_LINES = 16_384
"""In one slice: some 4 MB of text, 2 MB compressed."""
_LONGEST_BYTES = 1 << 26
"""Of a slice as text, when it is read."""
_AT_ONCE = 1000
"""Lines that are written by one statement."""


async def export(db: Database, first: int, last: int) -> bytes:
    """Return the lines from one position up to another, each of which is seen to be what was chained.

    Raises:
        Faulty: One is not, or is missing.
        PermanentError: They are too many.
    """
    if not 0 < last - first <= MOST_LINES:
        raise PermanentError(f"a slice has up to {MOST_LINES} lines, not those from {first} up to {last}")
    rows, stated = await check.sound(db, first, last)
    before = rows.pop(0)["hash"] if first else NONE
    behind = await fault_store.any_accepted(db, last)
    return await asyncio.to_thread(_written, before, rows, stated, behind=behind)


def last_hash(content: bytes) -> bytes:
    """Return the hash of a slice's last line, of one that was made here."""
    top, _, _ = zlib.decompressobj(wbits=31).decompress(content, _LONGEST_BYTES).partition(b"\n")
    return bytes.fromhex(orjson.loads(top)["hash"])


async def bring_back(db: Database, content: bytes) -> Head:
    """Write the lines of a slice that are not in the log behind its head; return the head then.

    A slice that the log has already changes nothing; nor does one of which a line is not what was chained.

    Raises:
        IntegrityError: It is no slice, one of its lines is not what was chained, or another line is there already.
        PermanentError: It is not the one that comes next.
    """
    first, before, hashed, rows, said = await asyncio.to_thread(_read, content)

    async def work(tx: Transaction) -> Head:
        head = await store.lock_head(tx)
        if head is not None and head.size >= first + len(rows):
            there = await store.hashes_at(tx, [first + len(rows) - 1])
            if there.get(first + len(rows) - 1) != hashed:
                raise IntegrityError(f"the custody log has other lines than these from {first} on; nothing was changed")
            return head
        if head is None or head.size < first or (head.size == first and head.hash != before):
            raise PermanentError(f"these lines come behind the first {first}; the custody log is not there")
        for start in range(head.size - first, len(rows), _AT_ONCE):
            some = rows[start : start + _AT_ONCE]
            placed = await place_behind(tx, head, some, said)
            await store.insert(tx, some, placed)
            head = Head(head.size + len(some), placed[-1].hash)
        if head.hash != hashed:
            raise IntegrityError(f"of the custody log's lines from {first} on one is not what was chained")
        return head

    head = await db.transact(work)
    kept = {} if said is None else said.hashes
    changed = {row["position"]: check.changed(row).reason for row in rows if row["position"] in kept}
    await fault_store.add_accepted(db, changed)
    return head


def rows(content: bytes) -> list[Row]:
    """Return the lines of a slice, without a look at what they were chained to.

    Raises:
        IntegrityError: It is no slice.
    """
    return _read(content)[3]


def _written(before: bytes, rows: Sequence[Row], stated: frozenset[int], *, behind: bool) -> bytes:
    head: dict[str, object] = {
        "first": rows[0]["position"], "before": before.hex(), "hash": rows[-1]["hash"].hex()
    }  # fmt: skip
    if behind:
        head["follows"] = [row["follows"] for row in rows]
        head["stated"] = {str(row["position"]): row["hash"].hex() for row in rows if row["position"] in stated}
    lines = [_legible(row) if row["position"] in stated else text(row, row["position"]) for row in rows]
    return gzip.compress(b"\n".join([orjson.dumps(head), *lines]), 6, mtime=0)


def _legible(row: Row) -> bytes:
    """Return a line that was accepted; one of which nothing can be read any more as one that is lost."""
    try:
        line = text(row, row["position"])
        parse(line)
    except (TypeError, ValueError, IntegrityError):
        return text({**row, "act": Act.LOST.value, "facts": "{}", "salt": None}, row["position"])
    return line


def _read(content: bytes) -> tuple[int, bytes, bytes, list[Row], Stated | None]:
    """Return the position of a slice's first line, the hashes before it and of the last line, and the lines.

    Last comes what is stated of them, if anything is.
    """
    try:
        reader = zlib.decompressobj(wbits=31)
        top, *lines = reader.decompress(content, _LONGEST_BYTES).split(b"\n")
        head = orjson.loads(top)
        before, hashed = bytes.fromhex(head["before"]), bytes.fromhex(head["hash"])
        rows = [parse(line) for line in lines]
        if reader.eof and rows and [row["position"] for row in rows] == [head["first"] + n for n in range(len(rows))]:
            return head["first"], before, hashed, rows, _stated(head, rows) if "follows" in head else None
    except (zlib.error, ValueError, KeyError, TypeError, AttributeError):
        pass
    raise IntegrityError("this is no slice of a custody log")


def _stated(head: dict[str, Any], rows: Sequence[Row]) -> Stated:
    follows = {
        row["position"]: None if one is None else int(one) for row, one in zip(rows, head["follows"], strict=True)
    }
    return Stated(follows, {int(at): bytes.fromhex(one) for at, one in head["stated"].items()})
