"""A folder's row to be worked on under a lease, for tests of leases and stages."""

from roadvault_common.events.bus import Bus
from roadvault_common.sql.db import Database, Row
from roadvault_common.work.attempt import Do
from roadvault_common.work.stages import PACK
from roadvault_common.work.worker import Worker


async def new_folder(db: Database) -> int:
    return await db.transact(
        lambda tx: tx.insert(
            "INSERT INTO folder_info (status, close_at, pack_due) VALUES (1, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))"
        )
    )


async def row(db: Database, folder_id: int) -> Row:
    found = await db.fetch_one("SELECT * FROM folder_info WHERE folder_id = %s", (folder_id,))
    assert found is not None
    return found


async def let_time_pass(db: Database, folder_id: int) -> None:
    """End the row's lease or backoff now."""
    await db.execute("UPDATE folder_info SET pack_due = UTC_TIMESTAMP(6) WHERE folder_id = %s", (folder_id,))


def worker(db: Database, bus: Bus, do: Do, lease_seconds: float = 60) -> Worker:
    return Worker(PACK, do, db, bus, lease_seconds=lease_seconds, concurrency=2)
