"""Checks the custody log: whether every line is what was chained, none is missing, and none has been added or moved.

A part of it at a time on the way through all, and each time the tail, and the head that the data directory has noted.
What was rewritten as a whole, with all hashes behind it, is found by heads that were noted elsewhere alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import Gauge

from roadvault_common.custody import fault_store, note, store, tie, tying
from roadvault_common.custody.chain import NONE, link, text
from roadvault_common.custody.tree import BLOCK, LOWEST, children, completed, join, root_of, span
from roadvault_common.errors import IntegrityError, PermanentError, brief
from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database, Row

log = structlog.get_logger()

FAULTS = Gauge(
    "roadvault_custody_faults", "Lines of the custody log that are not what was chained, or are missing, up to 10 000"
)
CHECK_SECONDS = 60.0
"""Between two parts that are checked, whichever process does it."""
_PART = 16 * BLOCK
"""Lines that are checked at a time: 6 million a day."""
_TAIL = BLOCK
_MISSING = "the line is missing"
_MOST_FAULTS = 100
"""What is noted of one part: in a log that was rewritten every line is wrong."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with the line at a position of the chain."""

    position: int
    reason: str


class Faulty(PermanentError):
    """Lines are asked for of which one is not what was chained, or is missing."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"the custody log is not what was chained, at position {fault.position}: {fault.reason}")
        self.fault = fault


async def check(db: Database, first: int, last: int) -> list[Fault]:
    """Return what is wrong with the lines from one position up to another, and with what the tree has over them."""
    if first >= last:
        return []
    rows = {row["position"]: row for row in await store.lines(db, max(first - 1, 0), last)}
    followed = await store.hashes_at(db, (row["follows"] for row in rows.values() if row["follows"] is not None))
    accepted = frozenset(await fault_store.accepted(db, first, last))
    found, doubtful = list[Fault](), False
    for position in range(first, last):
        row = rows.get(position)
        fault = None
        if row is None:
            fault = Fault(position, _MISSING)
        elif not doubtful and hash_of(row, rows.get(position - 1), followed) not in (None, row["hash"]):
            fault = await _fault(db, row, first)
        # The line behind a wrong one can't be told: the hash between them may be wrong; unless it is accepted as it is.
        doubtful = fault is not None and position not in accepted
        found += [] if fault is None else [fault]
    return found or await _nodes(db, first, last, [rows[at]["hash"] for at in range(first, last)])


async def sound(db: Database, first: int, last: int) -> tuple[list[Row], frozenset[int]]:
    """Return the lines from one position up to another, after the one before them, if there is one.

    And the positions of those that a person accepted though they don't give their hash.

    Raises:
        Faulty: One does not give its hash, whatever may be to blame for it, or is missing; or the tree over them is not
            what they give.
    """
    accepted, stated = frozenset(await fault_store.accepted(db, first, last)), set[int]()
    begin = max(first - 1, 0)
    rows = await store.lines(db, begin, last)
    followed = await store.hashes_at(db, (row["follows"] for row in rows if row["follows"] is not None))
    for position in range(begin, last):
        at = position - begin
        if len(rows) <= at or rows[at]["position"] != position:
            raise Faulty(Fault(position, _MISSING))
        if position >= first and hash_of(rows[at], rows[at - 1] if position else None, followed) != rows[at]["hash"]:
            if position not in accepted:
                raise Faulty(changed(rows[at]))
            stated.add(position)
    for fault in await _nodes(db, first, last, [row["hash"] for row in rows[first - begin :]]):
        raise Faulty(fault)
    return rows, frozenset(stated)


def hash_of(row: Row, before: Row | None, followed: dict[int, bytes]) -> bytes | None:
    """Return what a line's hash should be; None if that can't be told: the line before is missing, and named."""
    if row["position"] and before is None:
        return None
    own = None if row["follows"] is None else followed.get(row["follows"], b"")
    try:
        return link(before["hash"] if before else NONE, own, text(row, row["position"]))
    except (TypeError, ValueError, AttributeError):  # a time or JSON that is none
        return b""


async def _fault(db: Database, row: Row, first: int) -> Fault | None:
    """Return what is wrong where a line does not give its hash; None if a line that it builds on is named for it."""
    position, follows = row["position"], row["follows"]
    builds_on = [follows] if follows is not None and 0 <= follows < position else []
    builds_on += [position - 1] if position == first and position else []  # within a part the caller knows
    accepted = await fault_store.accepted_among(db, builds_on)
    if not all([one in accepted or await _sound(db, one) for one in builds_on]):
        return None
    return changed(row)


def changed(row: Row) -> Fault:
    """Return what is said of a line that does not give its hash."""
    about = f"file {row['file_id']}" if row["zip_id"] is None else f"archive {row['zip_id']}"
    reason = "is not what was chained here: it was changed, moved or put in"
    return Fault(row["position"], f"the line `{row['act']}` of {about} {reason}")


async def _sound(db: Database, position: int) -> bool:
    """Tell whether a line is there, and gives its hash with those of the lines that it builds on as they stand."""
    rows = {row["position"]: row for row in await store.lines(db, max(position - 1, 0), position + 1)}
    row = rows.get(position)
    if row is None:
        return False
    followed = {} if row["follows"] is None else await store.hashes_at(db, [row["follows"]])
    return bool(row["hash"] == hash_of(row, rows.get(position - 1), followed))


async def _nodes(db: Database, first: int, last: int, hashes: Sequence[bytes]) -> list[Fault]:
    """Return what is wrong with the nodes of the tree that became complete by some lines."""
    nodes = [node for node in completed(first, last) if node[0] > LOWEST or span(node)[0] >= first]
    kept = await store.nodes(db, {one for node in nodes for one in (node, *children(node)) if one[0] >= LOWEST})
    found = list[Fault]()
    for node in nodes:
        low, high = span(node)
        if node[0] == LOWEST:
            right = root_of(hashes[low - first : high - first])
        elif node not in kept and any(child not in kept for child in children(node)):
            continue  # lines are missing below, which are named by themselves, and may be accepted
        else:
            right = join(*(kept.get(child, b"") for child in children(node)))
        if kept.get(node) != right:
            found.append(Fault(low, f"the tree over the lines from {low} up to {high - 1} is not what they give"))
    return found


async def check_head(db: Database, root: Path | None) -> list[Fault]:
    """Return what is wrong with the head, and with what a data directory has noted of it; the tail is not read."""
    head = await store.head(db)
    if head is None:
        return [Fault(0, "the head's row is gone: nothing can be chained")]
    found = list[Fault]()
    newest = (await store.hashes_at(db, [head.size - 1])).get(head.size - 1) if head.size else NONE
    if newest is not None and newest != head.hash:
        found.append(Fault(head.size - 1, "the newest line does not have the head's hash: one of both was changed"))
    later = await store.behind(db, head.size)
    # Whoever chains may have gone on meanwhile.
    if later is not None and head == await store.head(db):
        found.append(Fault(later, f"a line stands behind the head ({head.size} lines): one of both was changed"))
    found += [] if root is None else await _noted(db, root)
    gone = await published(db)
    # What is noted is by positions: of two reasons at one of them each would take the other's place.
    return found if gone is None or gone.position in {fault.position for fault in found} else [*found, gone]


async def published(db: Database) -> Fault | None:
    """Return what is wrong if the log does not go on from the newest published head, and nobody accepted that."""
    content = await fault_store.published(db)
    if content is None:
        return None
    try:
        was = tie.Published.read(content)
    except IntegrityError as error:
        return Fault(0, brief(error))
    reason = f"the first {was.size} lines are not those whose head was published: some were changed, or are gone"
    return None if await goes_on(db, was) else Fault(was.size - 1, reason)


async def goes_on(db: Database, was: tie.Published) -> bool:
    """Tell whether the log has those lines whose head was published."""
    try:
        return await tying.root(db, was.size) == was.bare
    except IntegrityError:  # what it takes is not all there
        return False


async def trouble(db: Database) -> str | None:
    """Return why nothing is to be made of the log as it is: it is not what it was, and nobody accepted that."""
    gone = await published(db)
    if gone is not None:
        return gone.reason
    return "lines are known not to be what was chained" if await fault_store.count_faults(db) else None


async def _noted(db: Database, root: Path) -> list[Fault]:
    try:
        noted = await asyncio.to_thread(note.read, root)
    except IntegrityError as error:
        return [Fault(0, brief(error))]
    trouble = None if noted is None else await note.trouble(db, noted)
    return [] if trouble is None else [Fault(*trouble)]


class Checker:
    """Checks the log a part at a time, whichever process has the turn, and tells a person of what is wrong."""

    def __init__(self, db: Database, bus: Bus, root: Path) -> None:
        self._db = db
        self._bus = bus
        self._root = root

    async def sweep(self) -> None:
        """Check the next part, the tail and the head, if it is time, and note the head in the data directory."""
        checked = await fault_store.take_turn(self._db, CHECK_SECONDS)
        head = await store.head(self._db)
        if checked is None and head is not None:
            return
        size = 0 if head is None else head.size
        first = (checked or 0) if (checked or 0) < size else 0
        last = min(first + _PART, size)
        tail = max(size - _TAIL, last)
        found = await check(self._db, first, last) + await check(self._db, tail, size)
        for fault in [*found[:_MOST_FAULTS], *await check_head(self._db, self._root)]:
            await note_fault(self._db, self._bus, fault)
        await fault_store.note_checked(self._db, 0 if last == size else last, ended=last == size)
        await note.move_on(self._db, self._root)

    async def measure(self) -> None:
        """Show how many lines are known to be wrong."""
        FAULTS.set(await fault_store.count_faults(self._db))


async def note_fault(db: Database, bus: Bus, fault: Fault) -> None:
    """Note what is wrong, and tell a person of it, unless it is known."""
    if await fault_store.add_fault(db, fault.position, fault.reason):
        await bus.dead_letter("custody", str(Faulty(fault)), position=fault.position)


async def check_all(db: Database, root: Path | None, advance: Callable[[int], None]) -> list[Fault]:
    """Check the whole log, and note what is wrong in place of what was known; `advance` is told of lines checked."""
    head = await store.head(db)
    size, found = 0 if head is None else head.size, list[Fault]()
    for first in range(0, size, _PART):
        last = min(first + _PART, size)
        found += await check(db, first, last)
        advance(last - first)
    found += await check_head(db, root)
    await fault_store.forget_faults(db)
    for fault in found[:_MOST_FAULTS]:
        await fault_store.add_fault(db, fault.position, fault.reason)
    return found
