"""Gives lines of the custody log their place in the chain, in batches, one process at a time.

Each batch is one transaction that holds the head's row: what is killed in it has done nothing. A line is taken once its
own transaction is seen to be committed, so that one that commits late simply gets a later place.
"""

from collections.abc import Sequence
from itertools import pairwise
from secrets import token_bytes

import structlog
from prometheus_client import Gauge

from roadvault_common.custody import store
from roadvault_common.custody.chain import SALT_BYTES, Head, Link, Stated, links, links_as_stated, subject
from roadvault_common.custody.tree import BLOCK, LOWEST, Node, children, completed, join, root_of
from roadvault_common.sql.custody_lines import Act
from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.sql.server_errors import duplicate_key

log = structlog.get_logger()

UNCHAINED = Gauge(
    "roadvault_custody_unchained_seconds", "How long the oldest line of the custody log has waited for its place"
)
CHAIN_SECONDS = 5.0
"""Between two looks for lines that have no place yet."""
_AT_ONCE = 1000
"""Lines that get their places in one transaction."""


async def chain(db: Database) -> None:
    """Give all lines their places that have none."""
    while await chain_some(db) == _AT_ONCE:
        pass


async def chain_some(db: Database, limit: int = _AT_ONCE) -> int:
    """Give up to `limit` lines their places, all or none; return how many."""

    async def work(tx: Transaction) -> int:
        head = await store.lock_head(tx)
        rows = [] if head is None else await store.unchained(tx, limit)
        if head is None or not rows:
            return 0
        for row in rows:
            row["salt"] = token_bytes(SALT_BYTES)
        await store.place(tx, rows, await place_behind(tx, head, rows))
        return len(rows)

    try:
        return await db.transact(work)
    except Exception as error:
        if not duplicate_key(error):
            raise
        log.error("a line stands where the next one is to be chained: see `roadvault custody --check`")  # noqa: TRY400
        return 0


async def place_behind(tx: Transaction, head: Head, rows: Sequence[Row], stated: Stated | None = None) -> list[Link]:
    """Return the places of lines behind the head, whose lock is held; move the head, and keep what the tree gains.

    Some have places that are `stated`.
    """
    if stated is None:
        # A file is received once, and that is its first line.
        asked = {subject(row) for row in rows if row["act"] != Act.RECEIVED.value}
        placed = links(head, rows, await store.latest(tx, asked))
    else:
        at = (stated.follows[head.size + number] for number in range(len(rows)))
        placed = links_as_stated(
            head, rows, stated, await store.hashes_at(tx, [one for one in at if one is not None and one < head.size])
        )
    await store.add_nodes(tx, await _new_nodes(tx, head, [one.hash for one in placed]))
    await store.move_head(tx, Head(head.size + len(placed), placed[-1].hash))
    return placed


async def _new_nodes(tx: Transaction, head: Head, added: Sequence[bytes]) -> dict[Node, bytes]:
    """Return the nodes of the tree that are complete with lines added behind the head, by their hashes."""
    size, found = head.size + len(added), dict[Node, bytes]()
    nodes = list(completed(head.size, size))
    if not nodes:
        return found
    first = head.size // BLOCK * BLOCK
    known = await store.hashes(tx, first, head.size)
    # Where lines are missing the tree has no nodes above them: what asks for these says so, a check names the lines.
    hashes = [*(known.get(at) for at in range(first, head.size)), *added]
    for low, high in pairwise(range(first, size + 1, BLOCK)):
        below = [one for one in hashes[low - first : high - first] if one is not None]
        if len(below) == BLOCK:
            found[LOWEST, low >> LOWEST] = root_of(below)
    kept = await store.nodes(tx, {child for node in nodes if node[0] > LOWEST for child in children(node)} - set(nodes))
    for node in nodes:
        if node[0] > LOWEST:
            left, right = (found.get(child) or kept.get(child) for child in children(node))
            if left is not None and right is not None:
                found[node] = join(left, right)
    return found


async def measure(db: Database) -> None:
    """Show how long the oldest line has waited for its place."""
    UNCHAINED.set(await store.unchained_seconds(db))
