"""The SQL of reserve copies: uploads of a store that another one has, too, until the network has them."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.mirror import named_paths
from roadvault_common.sql.states import FileStatus, FolderStatus

RESERVE = "reserve"
"""The directory of copies, below the data directory of the store that has them."""
HEARD_SECONDS = 60
_AT_ONCE = 500


class Copied(NamedTuple):
    """A copy: the store that has it, and where."""

    store: str
    path: str


def place(home: str, upload: str) -> str:
    """Return where the copy of a store's upload lies, whose own path is `upload`."""
    return f"{RESERVE}/{home}/{upload.partition('/')[2]}"


async def note(tx: Transaction, copies: Mapping[int, Copied]) -> None:
    """Note copies by their files, in the transaction that records these."""
    if copies:
        rows = ", ".join(["(%s, %s, %s)"] * len(copies))
        values = [value for file_id, copy in copies.items() for value in (file_id, *copy)]
        await tx.execute(f"INSERT INTO copy_info (file_id, store, path) VALUES {rows}", values)  # noqa: S608 - marks


async def takers(db: Database, but: str) -> list[Row]:
    """Return other stores that take copies: `name` and `copy_url`."""
    return await db.fetch_all(
        "SELECT name, copy_url FROM store_info WHERE name <> %s AND state = 0 AND copy_url IS NOT NULL"
        " AND copies_at > UTC_TIMESTAMP(6) - INTERVAL %s SECOND",
        (but, HEARD_SECONDS),
    )


async def say(db: Database, store: str, url: str) -> None:
    """Note that a store takes copies."""
    await db.execute("UPDATE store_info SET copy_url = %s, copies_at = UTC_TIMESTAMP(6) WHERE name = %s", (url, store))


async def named(db: Database, paths: list[str]) -> set[str]:
    """Return those of `paths` that are a copy, or were one and are an upload now."""
    return await named_paths(db, "copy_info", paths) | await named_paths(db, "file_upload_info", paths)


async def over(db: Database, store: str, after: int) -> tuple[list[Row], int | None]:
    """Return copies behind a file id whose uploads may go, or went; and where to go on, or None at the end."""
    rows = await db.fetch_all(
        "SELECT copy.file_id, copy.path, file.path IS NULL AS needless FROM copy_info AS copy"
        " LEFT JOIN file_upload_info AS file USING (file_id)"
        " WHERE copy.store = %s AND copy.file_id > %s ORDER BY copy.file_id LIMIT %s",
        (store, after, _AT_ONCE),
    )
    return [row for row in rows if row["needless"]], rows[-1]["file_id"] if len(rows) == _AT_ONCE else None


async def forget(db: Database, file_ids: Sequence[int]) -> None:
    """Note that copies are gone."""
    await db.execute(f"DELETE FROM copy_info WHERE file_id IN ({marks(file_ids)})", [*file_ids])  # noqa: S608 - marks


async def rescue(tx: Transaction, file_ids: Sequence[int]) -> set[int]:
    """Have files whose store is lost be uploads of the stores that have copies; return those.

    They are in closed folders there, due to be packed.
    """
    rows = await tx.fetch_all(
        "SELECT copy.file_id, copy.store, copy.path, file.size FROM copy_info AS copy"  # noqa: S608 - marks
        f" JOIN file_upload_info AS file USING (file_id) WHERE copy.file_id IN ({marks(file_ids)}) FOR UPDATE",
        [*file_ids],
    )
    for store in sorted({row["store"] for row in rows}):
        own = [row for row in rows if row["store"] == store]
        folder_id = await tx.insert(
            "INSERT INTO folder_info (store, status, files, bytes, close_at, closed_at, pack_due)"  # noqa: S608 - our own numbers
            f" VALUES (%s, {FolderStatus.CLOSED}, %s, %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            (store, len(own), sum(row["size"] for row in own)),
        )
        for row in own:
            await tx.execute(
                "UPDATE file_upload_info SET path = %s, folder_id = %s, zip_id = NULL, zip_offset = NULL,"  # noqa: S608 - our own numbers
                f" status = IF(status = {FileStatus.PACKED}, {FileStatus.NOT_PACKED}, status) WHERE file_id = %s",
                (row["path"], folder_id, row["file_id"]),
            )
    found = {row["file_id"] for row in rows}
    if found:
        await tx.execute(f"DELETE FROM set_aside_info WHERE file_id IN ({marks(found)})", [*found])  # noqa: S608 - marks
        await tx.execute(f"DELETE FROM copy_info WHERE file_id IN ({marks(found)})", [*found])  # noqa: S608 - marks
    return found
