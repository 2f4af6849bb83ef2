"""SQL of the way out of a full disk: what has to be packed, and copied to Kubo, before anything can go."""

from collections.abc import Collection

from roadvault_common.sql.db import Database, marks
from roadvault_common.sql.states import FolderStatus
from roadvault_common.stores import MAIN

UNPACKED = (FolderStatus.OPEN.value, FolderStatus.CLOSED.value, FolderStatus.FAILED.value)
"""Folders whose files still have to be packed."""


# Of a resumable upload that is open, what came has to be packed; for a while room for what is to come is kept, too.
_HELD = "size IS NOT NULL AND held_until > UTC_TIMESTAMP(6)"


async def to_pack(db: Database, but: Collection[int] = (), store: str = MAIN) -> int:
    """Return the bytes of a store's files and open uploads that still have to be packed, but for some folders."""
    size = await db.fetch_value(
        "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM folder_info WHERE store = %s AND status IN (%s, %s, %s)"  # noqa: S608 - placeholders
        f" AND folder_id NOT IN ({marks(but) or 0}))"
        f" + (SELECT COALESCE(SUM(IF({_HELD}, 2 * size - came, came)), 0) FROM upload_info"
        " WHERE store = %s AND file_id IS NULL)",
        (store, *UNPACKED, *but, store),
    )
    return int(size)


async def to_copy(db: Database, but: Collection[int] = (), store: str = MAIN) -> int:
    """Return the bytes of a store's files and archives that a Kubo which copies still has to, but for some archives."""
    size = await db.fetch_value(
        "SELECT (SELECT COALESCE(SUM(bytes), 0) FROM folder_info WHERE store = %s AND status IN (%s, %s, %s))"  # noqa: S608 - likewise
        " + (SELECT COALESCE(SUM(size), 0) FROM zip_ipfs_info WHERE store = %s AND pin_due IS NOT NULL"
        f" AND zip_id NOT IN ({marks(but) or 0}))"
        f" + (SELECT COALESCE(SUM(IF({_HELD}, size, came)), 0) FROM upload_info WHERE store = %s AND file_id IS NULL)",
        (store, *UNPACKED, store, *but, store),
    )
    return int(size)
