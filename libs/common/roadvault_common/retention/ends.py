"""What keeps an archive past its end: the SQL that several services share.

An end, a hold and the shredding of one archive are decided one after the other: each locks the archive's row.
"""

from roadvault_common.sql.db import Database, Row

PERIOD_KEY = "(SELECT period.`key` FROM period_key_info AS period WHERE period.period_key = {zip}.master_key)"
"""The period key that wraps an archive's key, as its row has it; NULL if a master key does."""
HELD = "EXISTS (SELECT 1 FROM hold_info WHERE hold_info.zip_id = {zip}.zip_id AND active = 1)"
"""Whether an archive is on hold, or one of its files is."""
IDLE = (
    "SELECT period_key, period FROM period_key_info WHERE `key` IS NOT NULL"
    " AND period < DATE_FORMAT(UTC_TIMESTAMP(), '%%Y-%%m')"
    " AND NOT EXISTS (SELECT 1 FROM zip_ipfs_info WHERE master_key = period_key)"
)
"""The period keys that live, and that nothing here needs any more: their month is over, they wrap no archive's key."""
SOON_DAYS = 30
"""So long before its end an archive is announced."""
_MOST = 10_000


async def count_soon(db: Database) -> int:
    """Return how many archives end within `SOON_DAYS`, holds apart; counted up to 10 000."""
    return int(
        await db.fetch_value(
            "SELECT COUNT(*) FROM (SELECT 1 FROM retention_info WHERE shredded_at IS NULL"
            " AND ends_at <= UTC_TIMESTAMP(6) + INTERVAL %s DAY LIMIT %s) AS some",
            (SOON_DAYS, _MOST),
        )
    )


async def soon(db: Database, limit: int) -> list[Row]:
    """Return `zip_id`, `ends_at` and whether they are `held` of archives that end soon, the first first."""
    return await db.fetch_all(
        f"SELECT zip_id, ends_at, {HELD.format(zip='retention_info')} AS held FROM retention_info"  # noqa: S608
        " WHERE shredded_at IS NULL AND ends_at <= UTC_TIMESTAMP(6) + INTERVAL %s DAY ORDER BY ends_at LIMIT %s",
        (SOON_DAYS, limit),
    )
