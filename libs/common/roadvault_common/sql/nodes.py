"""SQL that several services share: which IPFS nodes of ours hold archives, as whoever works with them writes down.

A proof keeps away from all of them, also from one that was replaced.
"""

from roadvault_common.sql.db import Database

_MOST = 1000


async def note(db: Database, peer_id: str) -> None:
    """Note that a node with this peer id is ours, and holds archives."""
    await db.execute(
        "INSERT INTO node_info (peer_id, seen_at) VALUES (%s, UTC_TIMESTAMP(6))"
        " ON DUPLICATE KEY UPDATE seen_at = UTC_TIMESTAMP(6)",
        (peer_id,),
    )


async def ours(db: Database) -> set[str]:
    """Return the peer ids of our nodes that hold archives, or held some: the latest, if they are many."""
    rows = await db.fetch_all("SELECT peer_id FROM node_info ORDER BY seen_at DESC LIMIT %s", (_MOST,))
    return {row["peer_id"] for row in rows}
