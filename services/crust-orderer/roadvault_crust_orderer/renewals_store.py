"""How many orders end on which day: `renewal_info`, a summary of `expired_on` that costs the same at any size."""

from roadvault_common.db import Database, Transaction

BLOCKS_A_DAY = 14_400
"""Of blocks that come every 6 s; a chain with other blocks has other days here, which only round the count up."""


async def note(tx: Transaction, before: int | None, after: int | None) -> None:
    """Count an archive whose order ended at height `before` (blocks) as one that ends at `after`; None: at neither."""
    old, new = (None if height is None else height // BLOCKS_A_DAY for height in (before, after))
    if old == new:
        return
    if old is not None:
        await tx.execute("UPDATE renewal_info SET archives = archives - 1 WHERE day = %s", (old,))
        await tx.execute("DELETE FROM renewal_info WHERE day = %s AND archives = 0", (old,))
    if new is not None:
        await tx.execute(
            "INSERT INTO renewal_info (day, archives) VALUES (%s, 1) ON DUPLICATE KEY UPDATE archives = archives + 1",
            (new,),
        )


async def until(db: Database, height: int) -> int:
    """Return how many orders end at or before the end of a height's day (blocks)."""
    row = await db.fetch_one(
        "SELECT COALESCE(SUM(archives), 0) AS n FROM renewal_info WHERE day <= %s", (height // BLOCKS_A_DAY,)
    )
    return int(row["n"]) if row else 0
