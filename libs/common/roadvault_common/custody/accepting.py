"""Goes on from a custody log as it is, once a person has accepted what is wrong with it, and says so for ever."""

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from roadvault_common.custody import fault_store, note, store, tying
from roadvault_common.custody.chain import Head, Link
from roadvault_common.custody.check import changed, hash_of
from roadvault_common.custody.tree import LOWEST, Node, children, join, root_of, span
from roadvault_common.errors import IntegrityError
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction

_AT_ONCE = 1000
"""Lines that are written by one statement; and faults that are accepted by one command with all that hangs on them."""
_LOOKED_AT = 512
"""Lines that are read by one."""


async def accept(db: Database, root: Path, reason: str) -> Head:
    """Go on from what is there, whatever is wrong with it; that a person accepted it becomes a line itself.

    In place of lines that are missing come such that say so, under hashes that they don't give. Return the head that
    the data directory had noted, or the log's if none was.
    """
    noted = await asyncio.to_thread(note.read, root)
    known = await fault_store.unaccepted(db, _AT_ONCE)
    gaps = [] if not known else await _gaps(db, min(known))

    async def work(tx: Transaction) -> Head:
        head = await store.lock_head(tx)
        if head is None:
            raise IntegrityError("the head's row is gone: bring the table custody_head_info back from a backup")
        old = noted or head
        facts = {"notedLines": old.size, "notedHash": old.hash.hex(), "lines": head.size, "reason": reason}
        where = ", ".join(f"{one}-{last}" if last > one else str(one) for one, last in tying.ranges(known))
        await record(tx, Line(Act.ACCEPTED, {**facts, "hash": head.hash.hex(), "where": where or None}))
        now = await _fill(tx, head, gaps)
        await store.put_nodes(tx, await _nodes_anew(tx, {*known, *gaps}, head.size))
        await fault_store.accept_faults(tx)
        await fault_store.accept_published(tx)
        await asyncio.to_thread(note.write, root, now)
        return old

    old = await db.transact(work)
    if known:
        await _accept_unsound(db, min(known), gaps)
    return old


async def _gaps(db: Database, first: int) -> list[int]:
    """Return the positions from one on at which lines are missing before the head."""
    head, found = await store.head(db), list[int]()
    size = 0 if head is None else head.size
    for begin in range(first, size, _LOOKED_AT):
        end = min(begin + _LOOKED_AT, size)
        found += sorted({*range(begin, end)} - (await store.hashes(db, begin, end)).keys())
    return found


async def _fill(tx: Transaction, head: Head, gaps: Sequence[int]) -> Head:
    """Write lines in place of those that are missing; return the head, which has the newest line's hash then."""
    for begin in range(0, len(gaps), _AT_ONCE):
        some = gaps[begin : begin + _AT_ONCE]
        made = [hashlib.sha256(b"lost" + at.to_bytes(8, "big")).digest() for at in some]
        links = [Link(at, None, head.hash if at == head.size - 1 else one) for at, one in zip(some, made, strict=True)]
        now = datetime.now(UTC).replace(tzinfo=None)
        row = {"act": Act.LOST.value, "file_id": None, "zip_id": None, "done_at": now, "facts": "{}", "salt": None}
        await store.insert(tx, [row] * len(some), links)
    newest = (await store.hashes_at(tx, [head.size - 1])).get(head.size - 1, head.hash)
    if newest != head.hash:
        await store.move_head(tx, now_head := Head(head.size, newest))
        return now_head
    return head


async def _nodes_anew(tx: Transaction, positions: set[int], size: int) -> dict[Node, bytes]:
    """Return the nodes over some positions as the lines give them that stand there."""
    found = dict[Node, bytes]()
    for level in count(LOWEST):
        nodes = sorted({(level, at >> level) for at in positions if ((at >> level) + 1) << level <= size})
        if not nodes:
            return found
        kept = {} if level == LOWEST else await store.nodes(tx, {one for node in nodes for one in children(node)})
        for node in nodes:
            if level == LOWEST:
                hashes = await store.hashes(tx, *span(node))
                found[node] = root_of([hashes[at] for at in range(*span(node))])
            elif all(one in found or one in kept for one in children(node)):
                found[node] = join(*(found.get(one) or kept[one] for one in children(node)))
    return found


async def _accept_unsound(db: Database, first: int, gaps: Sequence[int]) -> None:
    """Note as accepted whatever does not give its hash from a position on, as it stands now."""
    head, unsound = await store.head(db), dict[int, str]()
    size = 0 if head is None else head.size
    for begin in range(first, size, _LOOKED_AT):
        end = min(begin + _LOOKED_AT, size)
        rows = {row["position"]: row for row in await store.lines(db, max(begin - 1, 0), end)}
        followed = await store.hashes_at(db, (row["follows"] for row in rows.values() if row["follows"] is not None))
        some = {
            at: changed(row).reason
            for at, row in rows.items()
            if at >= begin and hash_of(row, rows.get(at - 1), followed) not in {None, row["hash"]}
        }
        await fault_store.add_accepted(db, some)
        unsound |= some
    other = {*gaps, *(at for at in unsound if at + 1 in unsound)}
    if other:
        await fault_store.forget_published_parts(db, min(other))
