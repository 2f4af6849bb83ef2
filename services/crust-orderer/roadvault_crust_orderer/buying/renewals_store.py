"""How many orders end on which day, and their sizes: `renewal_info`, a summary of `expired_on`, as fast at any size."""

from roadvault_common.sql.db import Database, Transaction
from roadvault_crust_orderer.markets.market import Renewals, mebibytes

BLOCKS_A_DAY = 14_400
"""Of blocks that come every 6 s; a chain with other blocks has other days here, which only round the count up."""


async def note(tx: Transaction, before: int | None, after: int | None, size: int) -> None:
    """Count an archive of `size` bytes whose order ended at height `before` as one that ends at `after`; None: never.

    Sizes that were counted wrongly go with their day: the row of a day goes with its last archive.
    """
    old, new = (None if height is None else height // BLOCKS_A_DAY for height in (before, after))
    if old == new:
        return
    if old is not None:
        await tx.execute(
            "UPDATE renewal_info SET archives = archives - 1, mebibytes = GREATEST(mebibytes - %s, 0) WHERE day = %s",
            (mebibytes(size), old),
        )
        await tx.execute("DELETE FROM renewal_info WHERE day = %s AND archives = 0", (old,))
    if new is not None:
        await tx.execute(
            "INSERT INTO renewal_info (day, archives, mebibytes) VALUES (%s, 1, %s)"
            " ON DUPLICATE KEY UPDATE archives = archives + 1, mebibytes = mebibytes + VALUES(mebibytes)",
            (new, mebibytes(size)),
        )


async def until(db: Database, height: int) -> Renewals:
    """Return what orders end at or before the end of a height's day (blocks)."""
    row = await db.fetch_one(
        "SELECT COALESCE(SUM(archives), 0) AS n, COALESCE(SUM(mebibytes), 0) AS mebibytes"
        " FROM renewal_info WHERE day <= %s",
        (height // BLOCKS_A_DAY,),
    )
    return Renewals(int(row["n"]), int(row["mebibytes"])) if row else Renewals(0, 0)
