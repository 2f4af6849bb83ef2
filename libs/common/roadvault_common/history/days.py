"""A row for each day, UTC: what came in, what was archived, replicas, what was paid, the disk. Plots read these alone.

Sums go over folders, archives and orders, along indexes by time. A file counts on the day on which it came: so what is
in a folder over midnight is counted by its files, once, soon after it (`carried`); the sum of all days is what came.
"""

import asyncio
import shutil
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Literal

from roadvault_common.history import heartbeats
from roadvault_common.sql.db import Database, Transaction, marks, sums
from roadvault_common.sql.states import ArchiveKind, ArchiveStatus, FolderStatus, OrderStatus

SECONDS = 60
_LOOK_BACK_DAYS = 90
"""How far back days without a row are summed, when there is none yet or nobody summed for long."""
_DOWN_DAYS = 4
"""After so many days without an ingest the folders that were open then count on the day on which they are closed."""
_MOST = 10_000
_LOCK = "SHA2(CONCAT(DATABASE(), '/days'), 256)"


@dataclass(frozen=True)
class Day:
    """One day; amounts are bytes and planck. Replicas and the disk are as they were last seen on that day."""

    day: date
    bytes_in: int
    files_in: int
    bytes_archived: int
    archives: int
    replicas_enough: int
    replicas_short: int
    spent_planck: int
    disk_free_bytes: int | None
    disk_total_bytes: int | None


async def last(db: Database, days: int) -> list[Day]:
    """Return the last days up to today, the oldest first; days of which nothing is known are not among them."""
    rows = await db.fetch_all(
        "SELECT day, bytes_in, files_in, bytes_archived, archives, replicas_enough, replicas_short, spent_planck,"
        " disk_free_bytes, disk_total_bytes FROM day_info WHERE day > UTC_DATE() - INTERVAL %s DAY ORDER BY day",
        (days,),
    )
    return [Day(**{**row, "spent_planck": int(row["spent_planck"])}) for row in rows]


async def add_up(db: Database, directory: Path) -> None:
    """Sum today and yesterday, and days before that nobody has summed, unless another process is at it.

    Nothing rests on the lock, which another node of a cluster does not know: two that sum at once write the same.
    """
    usage = await asyncio.to_thread(shutil.disk_usage, directory)
    threshold = await heartbeats.replica_threshold(db)
    async with db.transaction() as tx:
        lock = await tx.fetch_one(f"SELECT GET_LOCK({_LOCK}, 0) AS taken, UTC_DATE() AS today")
        if lock is None or lock["taken"] != 1:
            return
        try:
            await _sum_up(tx, lock["today"])
            await _note_now(tx, lock["today"], threshold, usage.free, usage.total)
        except Exception:  # whatever it was: the connection goes back to its pool, and must not keep the lock
            await _unlock(tx)
            raise
        await _unlock(tx)


async def _unlock(tx: Transaction) -> None:
    """Give up the lock, which outlives a transaction; a connection that is closed gives it up by itself."""
    await tx.fetch_one(f"SELECT RELEASE_LOCK({_LOCK})")


async def _sum_up(tx: Transaction, today: date) -> None:
    row = await tx.fetch_one("SELECT MAX(day) AS day FROM day_info")
    first = looked = today - timedelta(days=1)
    if row is None or row["day"] is None or row["day"] < today - timedelta(days=_LOOK_BACK_DAYS):
        first = today - timedelta(days=_LOOK_BACK_DAYS)
    elif row["day"] < first:
        first = row["day"]
        looked = first if (today - first).days <= _DOWN_DAYS else looked
    for number in range((today - first).days + 1):
        day = first + timedelta(days=number)
        await _sum(tx, day, today, looks=day >= looked)


async def _sum(tx: Transaction, day: date, today: date, *, looks: bool) -> None:
    begin = datetime.combine(day, time())
    end = begin + timedelta(days=1)
    closed = await _of_folders(tx, "closed_at >= %s AND closed_at < %s", begin, end)
    before = await _carried(tx, day - timedelta(days=1))
    carried: tuple[int | None, int | None] = None, None
    if day == today:
        over = await _of_folders(tx, f"status = {FolderStatus.OPEN}")
    else:
        carried = await _carried(tx, day)
        if carried == (None, None):
            # Of long ago nobody looks any more which files of a folder came on the day before it was closed.
            carried = await _count_carried(tx, end) if looks else (0, 0)
        over = carried[0] or 0, carried[1] or 0
    archived = await sums(
        tx,
        "SELECT COALESCE(SUM(size), 0) AS bytes, COUNT(*) AS archives FROM zip_ipfs_info"
        " WHERE pinned_at >= %s AND pinned_at < %s AND kind = %s",
        begin, end, ArchiveKind.ARCHIVE.value,
    )  # fmt: skip
    spent = await sums(
        tx,
        "SELECT COALESCE(SUM(price), 0) AS planck FROM order_info"
        " WHERE create_time >= %s AND create_time < %s AND status IN (%s, %s, %s)",
        begin, end, OrderStatus.INTENDED.value, OrderStatus.BOUGHT.value, OrderStatus.REFUSED.value,
    )  # fmt: skip
    came = [max(closed[n] + over[n] - (before[n] or 0), 0) for n in (0, 1)]
    values = [*came, *carried, int(archived["bytes"]), archived["archives"], int(spent["planck"])]
    await tx.execute(
        "INSERT INTO day_info (day, bytes_in, files_in, carried_bytes, carried_files, bytes_archived, archives,"
        " spent_planck) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON DUPLICATE KEY UPDATE bytes_in = VALUES(bytes_in),"
        " files_in = VALUES(files_in), carried_bytes = VALUES(carried_bytes), carried_files = VALUES(carried_files),"
        " bytes_archived = VALUES(bytes_archived), archives = VALUES(archives), spent_planck = VALUES(spent_planck)",
        (day, *values),
    )


async def _of_folders(tx: Transaction, where: str, *args: object) -> tuple[int, int]:
    """Return the bytes and files of some folders."""
    row = await sums(
        tx,
        f"SELECT COALESCE(SUM(bytes), 0) AS bytes, COALESCE(SUM(files), 0) AS files FROM folder_info WHERE {where}",  # noqa: S608 - ours
        *args,
    )
    return int(row["bytes"]), int(row["files"])


async def _carried(tx: Transaction, day: date) -> tuple[int | None, int | None]:
    row = await tx.fetch_one("SELECT carried_bytes, carried_files FROM day_info WHERE day = %s", (day,))
    return (None, None) if row is None else (row["carried_bytes"], row["carried_files"])


async def _count_carried(tx: Transaction, midnight: datetime) -> tuple[int, int]:
    """Return the bytes and files that came before midnight, of folders that were closed since, or are open: few."""
    folders = await tx.fetch_all(
        f"(SELECT folder_id FROM folder_info WHERE status = {FolderStatus.OPEN})"  # noqa: S608 - our own numbers
        " UNION (SELECT folder_id FROM folder_info WHERE closed_at >= %s)",
        (midnight,),
    )
    if not folders:
        return 0, 0
    ids = [row["folder_id"] for row in folders]
    row = await sums(
        tx,
        "SELECT COALESCE(SUM(size), 0) AS bytes, COUNT(*) AS files FROM file_upload_info"  # noqa: S608 - marks
        f" WHERE folder_id IN ({marks(ids)}) AND create_time < %s",
        *ids, midnight,
    )  # fmt: skip
    return int(row["bytes"]), row["files"]


async def _note_now(tx: Transaction, today: date, threshold: int, free: int, total: int) -> None:
    """Write how replicas and the disk stand now. Which orders run is counted by the day on which they end."""
    running = await sums(tx, "SELECT COALESCE(SUM(archives), 0) AS archives FROM renewal_info")
    # An order has an end once it has a replica; at a pinning service none has.
    fresh, endless = [await _count(tx, ArchiveStatus.ORDERED, than, threshold) for than in ("<=", ">")]
    short = await _count(tx, ArchiveStatus.LIVE, "<=", threshold)
    enough, short = max(int(running["archives"]) - short, 0) + endless, min(fresh + short, _MOST)
    await tx.execute(
        "UPDATE day_info SET replicas_enough = %s, replicas_short = %s, disk_free_bytes = %s, disk_total_bytes = %s"
        " WHERE day = %s",
        (enough, short, free, total, today),
    )


async def _count(tx: Transaction, status: ArchiveStatus, than: Literal["<=", ">"], threshold: int) -> int:
    """Count archives by their replicas, up to 10 000."""
    row = await sums(
        tx,
        f"SELECT COUNT(*) AS archives FROM (SELECT 1 FROM zip_ipfs_info WHERE status = %s AND replicas {than} %s"  # noqa: S608
        " LIMIT %s) AS some",
        status.value, threshold, _MOST,
    )  # fmt: skip
    return int(row["archives"])
