"""Small pictures of videos: read from `posters/`, or asked for anew where they are gone.

They can be made again at any time: so nothing about them is durable, and none that is missing is a fault.
"""

import asyncio
from datetime import datetime

from roadvault_common.files.vault import Vault
from roadvault_common.sql.db import Database, Transaction, marks
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import LOOK

_AGAIN_SECONDS = 3600
"""A file is looked at anew for who wants its pictures at most as often; and so often is noted that one was seen."""
_MISSED_SECONDS = 60
"""A file of which nothing was found yet is looked at for who opens its page at most as often."""
_JPEG = b"\xff\xd8\xff"


async def picture(db: Database, vault: Vault, file_id: int, number: int) -> bytes | None:
    """Return a picture of a video, by its number from 0 on, as JPEG; None if there is none.

    One that is gone is made anew, later, if the file can be looked at. That somebody saw it is noted. Of another
    store's none is shown as long as that is there: of one that was drained or lost it is made anew here.
    """
    row = await db.fetch_one(
        "SELECT store, state IN (2, 3) AS left_behind, path, picture_bytes, unreadable, looked_at,"
        " UTC_TIMESTAMP(6) AS now, seen_at FROM video_info LEFT JOIN store_info ON name = store WHERE file_id = %s",
        (file_id,),
    )
    if row is None or (row["store"] != vault.store and not row["left_behind"]):
        return None
    if row["store"] != vault.store:
        if row["unreadable"] is not None:
            return None
        await db.transact(lambda tx: _move(tx, file_id, row["path"], vault.store))
        return None
    found = None
    if row["path"] is not None:
        sizes = [int(size) for size in row["picture_bytes"].split(",")]
        if number >= len(sizes):
            return None
        found = await asyncio.to_thread(_read, vault, row["path"], sizes, number)
    if found is None:
        if row["unreadable"] is None and _is_old(row["looked_at"], row["now"]):
            await db.transact(lambda tx: _ask(tx, file_id, row["path"]))
    elif _is_old(row["seen_at"], row["now"]):
        await db.execute(
            "UPDATE video_info SET seen_at = UTC_TIMESTAMP(6) WHERE file_id = %s AND path IS NOT NULL", (file_id,)
        )
    return found


async def look_for(db: Database, file_id: int) -> None:
    """Have a video looked at, wherever its bytes are, for who opens its page, if its copies here went before a look."""

    async def write(tx: Transaction) -> None:
        missed = await tx.execute(
            "UPDATE video_info SET looked_at = UTC_TIMESTAMP(6) WHERE file_id = %s AND container IS NULL"
            " AND unreadable IS NULL AND look_due IS NULL"
            " AND (looked_at IS NULL OR looked_at < UTC_TIMESTAMP(6) - INTERVAL %s SECOND)",
            (file_id, _MISSED_SECONDS),
        )
        if missed:
            await leases.make_due(tx, LOOK, file_id)

    await db.transact(write)


def _is_old(when: datetime | None, now: datetime) -> bool:
    return when is None or (now - when).total_seconds() >= _AGAIN_SECONDS


def _read(vault: Vault, path: str, sizes: list[int], number: int) -> bytes | None:
    try:
        data = vault.path(path).read_bytes()
    except OSError:
        return None
    start = sum(sizes[:number])
    found = data[start : start + sizes[number]]
    # What was being written when the machine went down may be shorter, or zeros.
    return found if len(data) == sum(sizes) and found.startswith(_JPEG) else None


async def _move(tx: Transaction, file_id: int, path: str | None, store: str) -> None:
    await _forget_one(tx, file_id, path)
    await tx.execute("UPDATE video_info SET store = %s WHERE file_id = %s", (store, file_id))
    await leases.make_due(tx, LOOK, file_id)


async def _ask(tx: Transaction, file_id: int, path: str | None) -> None:
    await _forget_one(tx, file_id, path)
    await leases.make_due(tx, LOOK, file_id)


async def _forget_one(tx: Transaction, file_id: int, path: str | None) -> None:
    if path is not None:
        await forget(tx, {file_id: path})


async def forget(tx: Transaction, paths: dict[int, str]) -> list[str]:
    """Note that files' pictures are gone, or about to; return the paths of those that no row names any more."""
    rows = await tx.fetch_all(
        f"SELECT file_id, store, path, bytes FROM video_info WHERE file_id IN ({marks(paths)}) FOR UPDATE",  # noqa: S608
        [*paths],
    )
    gone = {row["file_id"]: row for row in rows if row["path"] == paths[row["file_id"]]}
    if gone:
        await tx.execute(
            "UPDATE video_info SET path = NULL, picture_bytes = NULL, picture_places = NULL, bytes = 0, seen_at = NULL"  # noqa: S608
            f" WHERE file_id IN ({marks(gone)})",
            [*gone],
        )
        for store in {row["store"] for row in gone.values()}:
            await count(tx, store, -sum(row["bytes"] for row in gone.values() if row["store"] == store))
    return [row["path"] for row in gone.values()]


async def count(tx: Transaction, store: str, more: int) -> None:
    """Note that there are so many bytes more of pictures at a store."""
    await tx.execute(
        "UPDATE picture_info JOIN store_info ON number = one SET bytes = bytes + %s WHERE name = %s", (more, store)
    )
