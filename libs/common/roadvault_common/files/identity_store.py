"""SQL of the identity that database and data directory share."""

import re
from typing import NamedTuple

from roadvault_common.sql.db import Database, Row, Transaction
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.stores import MAIN

_NEXT = re.compile(r" AUTO_INCREMENT=(\d+) ")
COUNTED = {
    "file_upload_info": "file_id",
    "folder_info": "folder_id",
    "zip_ipfs_info": "zip_id",
    "download_info": "download_id",
    "order_info": "order_id",
}
"""Tables whose ids are given out, and must never be given twice; with the names of these ids."""


_READ = (
    "SELECT identity, mark, state = 3 AS lost FROM identity_info JOIN store_info ON store_info.number = one"
    " WHERE store_info.name = %s"
)
"""Of the row of a store; what is of the database as a whole is in row 1, that of the store main."""


async def register(db: Database, store: str) -> None:
    """Have the database know a store."""
    if await db.fetch_value("SELECT 1 FROM store_info WHERE name = %s", (store,)) is None:
        await db.transact(lambda tx: _register(tx, store))


async def _register(tx: Transaction, store: str) -> None:
    await tx.execute("INSERT IGNORE INTO store_info (name) VALUES (%s)", (store,))
    await tx.execute("INSERT IGNORE INTO picture_info (one) SELECT number FROM store_info WHERE name = %s", (store,))


async def read(db: Database, store: str = MAIN) -> Row | None:
    """Return the `identity` and `mark` that the database has for a store, and whether that was written off: `lost`."""
    return await db.fetch_one(_READ, (store,))


async def lock(tx: Transaction, store: str = MAIN) -> Row | None:
    """As `read`; nobody else moves the mark, or writes it to the data directory, until the transaction ends."""
    return await tx.fetch_one(f"{_READ} FOR UPDATE", (store,))


async def make(db: Database, identity: str, store: str = MAIN) -> None:
    """Give the database an identity for a store, or none yet (''), unless somebody just has."""
    try:
        await db.execute(
            "INSERT INTO identity_info (one, identity) SELECT number, %s FROM store_info WHERE name = %s",
            (identity, store),
        )
    except Exception as error:
        if not duplicate_key(error):
            raise


async def move_on(tx: Transaction, store: str = MAIN) -> None:
    """Move the mark on by one."""
    await tx.execute(
        "UPDATE identity_info JOIN store_info ON number = one SET mark = mark + 1 WHERE store_info.name = %s",
        (store,),
    )


class Unseen(NamedTuple):
    """For how many seconds no service has noted that it works with a database; and how old it was `before`, seconds."""

    seconds: int
    before: int


async def unseen(db: Database | Transaction) -> Unseen | None:
    """Return since when no service has noted that it works with this database; None: none ever has."""
    row = await db.fetch_one(
        "SELECT TIMESTAMPDIFF(SECOND, seen_at, UTC_TIMESTAMP(6)) AS seconds,"
        " TIMESTAMPDIFF(SECOND, create_time, seen_at) AS before_that FROM identity_info WHERE one = 1"
    )
    return Unseen(row["seconds"], row["before_that"]) if row and row["seconds"] is not None else None


async def see(tx: Transaction) -> None:
    """Note that a service works with this database."""
    await tx.execute("UPDATE identity_info SET seen_at = UTC_TIMESTAMP(6) WHERE one = 1")


async def replace(tx: Transaction, identity: str, mark: int, store: str = MAIN) -> None:
    """Give the database an identity and a mark for a store, whatever it had; it is in doubt from then on."""
    await tx.execute(
        "INSERT INTO identity_info (one, identity, mark) SELECT number, %s, %s FROM store_info WHERE name = %s"
        " ON DUPLICATE KEY UPDATE identity = VALUES(identity), mark = VALUES(mark)",
        (identity, mark, store),
    )
    await tx.execute("UPDATE identity_info SET doubted_at = UTC_TIMESTAMP(6), ends_allowed = NULL WHERE one = 1")
    # A catalogue may have been published since: the pinner looks where the name leads before it takes it again.
    await tx.execute("UPDATE catalogue_info SET named_at = NULL WHERE one = 1")


async def doubt(db: Database | Transaction) -> None:
    """Note that rows may be missing, or be others than they were, until a person has looked."""
    await db.execute(
        "UPDATE identity_info SET doubted_at = COALESCE(doubted_at, UTC_TIMESTAMP(6)), ends_allowed = NULL"
        " WHERE one = 1"
    )


async def highest(db: Database | Transaction) -> dict[str, int]:
    """Return the highest id of each table in COUNTED, 0 where there is none; by the ids' names."""
    row = await db.fetch_one(
        "SELECT (SELECT COALESCE(MAX(file_id), 0) FROM file_upload_info) AS file_id,"
        " (SELECT COALESCE(MAX(folder_id), 0) FROM folder_info) AS folder_id,"
        " (SELECT COALESCE(MAX(zip_id), 0) FROM zip_ipfs_info) AS zip_id,"
        " (SELECT COALESCE(MAX(download_id), 0) FROM download_info) AS download_id,"
        " (SELECT COALESCE(MAX(order_id), 0) FROM order_info) AS order_id"
    )
    return {name: int(number) for name, number in (row or {}).items()}


async def given_out(db: Database) -> dict[str, int]:
    """Return the highest id of each table in COUNTED that may have been given out, by the ids' names.

    Behind the highest row may be ids that a recovery left out, since somebody may have been given them.
    """
    rows = await highest(db)
    return {name: max(rows[name], await _next(db, table) - 1) for table, name in COUNTED.items()}


async def has_rows(db: Database | Transaction, store: str) -> bool:
    """Tell whether anything was ever recorded of a store."""
    row = await db.fetch_one(
        "SELECT EXISTS (SELECT 1 FROM folder_info WHERE store = %s) OR EXISTS (SELECT 1 FROM zip_ipfs_info WHERE"
        " store = %s) OR EXISTS (SELECT 1 FROM download_info WHERE store = %s) AS has_some",
        (store, store, store),
    )
    return bool(row and row["has_some"])


async def local_paths(db: Database | Transaction, limit: int, store: str = MAIN) -> list[str]:
    """Return up to `limit` paths of uploads, and as many of archives, that should be on a store's disk."""
    uploads = await db.fetch_all(
        "SELECT file.path FROM folder_info JOIN file_upload_info AS file USING (folder_id)"
        " WHERE folder_info.store = %s AND folder_info.status IN (0, 1, 3) AND file.path > '' LIMIT %s",
        (store, limit),
    )
    archives = await db.fetch_all(
        "SELECT path FROM zip_ipfs_info WHERE store = %s AND path > '' LIMIT %s", (store, limit)
    )
    return [row["path"] for row in (*uploads, *archives)]


async def go_on_behind(db: Database, table: str, number: int) -> None:
    """Have the table's next id be higher than `number`; what is higher already stays so.

    The server itself would lower it, as far as the rows that there are allow.
    """
    if await _next(db, table) <= number:
        await db.execute(f"ALTER TABLE {table} AUTO_INCREMENT = {number + 1}")


async def _next(db: Database, table: str) -> int:
    """Return the id that a table gives out next; the server tells none of one that it has not numbered yet."""
    row = await db.fetch_one(f"SHOW CREATE TABLE {table}")
    found = _NEXT.search(row["Create Table"] if row else "")
    return 1 if found is None else int(found[1])
