"""SQL of what a store leaves to another one that needs no bytes from its disk: so many rows at a time, by its keys."""

from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database, Transaction, marks
from roadvault_common.sql.states import StoreState
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PUBLISH

_AT_ONCE = 100
"""From 200 values on the server goes by statistics, and may read a table as a whole."""


async def set_state(db: Database, store: str, state: StoreState, *, before: tuple[StoreState, ...]) -> bool:
    """Change a store's state from one of those `before`; False if it has another."""
    changed = await db.execute(
        "UPDATE store_info SET state = %s, changed_at = UTC_TIMESTAMP(6) WHERE name = %s"  # noqa: S608 - marks
        f" AND state IN ({marks(before)})",
        (state.value, store, *(one.value for one in before)),
    )
    return changed == 1


async def other(db: Database, store: str) -> str:
    """Return the open store that takes over from one: the last that was made of those that were heard most lately.

    Raises:
        PermanentError: There is none.
    """
    name: str | None = await db.fetch_value(
        "SELECT name FROM store_info WHERE name <> %s AND state = %s"
        " ORDER BY heard_at > UTC_TIMESTAMP(6) - INTERVAL 90 SECOND DESC, heard_at DESC, number DESC LIMIT 1",
        (store, StoreState.OPEN.value),
    )
    if name is None:
        raise PermanentError(f"there is no other open store that what is of {store} could move to; nothing was changed")
    return name


async def open_folders(db: Database, store: str) -> list[int]:
    """Return the ids of a store's open folders."""
    rows = await db.fetch_all("SELECT folder_id FROM folder_info WHERE store = %s AND status = 0", (store,))
    return [row["folder_id"] for row in rows]


async def move_dropped(db: Database, store: str, to: str, *, at_work: bool) -> int:
    """Move archives of which a store keeps nothing, with their ends; return how many, some at a time.

    Who would have fetched one back does so there. Without `at_work` those stay that somebody has a lease on.
    """
    free = "" if at_work else "AND restore_token IS NULL AND drop_token IS NULL"

    async def write(tx: Transaction) -> int:
        rows = await tx.fetch_all(
            "SELECT zip_id FROM zip_ipfs_info FORCE INDEX (zip_store_path) WHERE store = %s AND path IS NULL"  # noqa: S608
            f" AND restored_at IS NULL AND uploads_dropped_at IS NOT NULL {free} LIMIT %s FOR UPDATE",
            (store, _AT_ONCE),
        )
        if rows:
            await move_archives(tx, [row["zip_id"] for row in rows], to)
        return len(rows)

    return await db.transact(write)


async def move_archives(tx: Transaction, zip_ids: list[int], to: str) -> None:
    """Have archives, and their ends, be another store's."""
    await tx.execute(
        "UPDATE zip_ipfs_info SET store = %s, restore_token = NULL, drop_token = NULL,"  # noqa: S608 - marks
        " restore_due = IF(restore_due IS NULL, NULL, UTC_TIMESTAMP(6)),"
        " drop_due = IF(drop_due IS NULL, NULL, UTC_TIMESTAMP(6))"
        f" WHERE zip_id IN ({marks(zip_ids)})",
        (to, *zip_ids),
    )
    await tx.execute(
        "UPDATE retention_info SET shred_due = IF(shred_token IS NULL, shred_due, UTC_TIMESTAMP(6)),"  # noqa: S608 - marks
        f" shred_token = NULL, store = %s WHERE zip_id IN ({marks(zip_ids)})",
        (to, *zip_ids),
    )


async def move_ended_requests(db: Database, store: str, to: str) -> int:
    """Move requests of which nothing is to be done any more, but what a person may retry; return how many."""
    return await db.execute(
        "UPDATE download_info SET store = %s WHERE store = %s AND fetch_due IS NULL AND expire_due IS NULL"
        " AND path IS NULL LIMIT %s",
        (to, store, _AT_ONCE),
    )


async def move_looks(db: Database, store: str, to: str) -> int:
    """Move files that are still to be looked at; their pictures are made anew when somebody asks. Return how many."""
    return await db.execute(
        "UPDATE video_info SET store = %s, look_token = NULL WHERE store = %s AND look_due IS NOT NULL LIMIT %s",
        (to, store, _AT_ONCE),
    )


async def hand_catalogue(db: Database, store: str, to: str) -> bool:
    """Have another store's node publish the catalogue, all of it; False if it was not this store's."""

    async def write(tx: Transaction) -> bool:
        handed = await tx.execute("UPDATE catalogue_info SET store = %s WHERE one = 1 AND store = %s", (to, store))
        if handed:
            await leases.end(tx, PUBLISH, 1)
            await leases.make_due(tx, PUBLISH, 1)
        return handed == 1

    return await db.transact(write)
