"""How many orders of which account end on which day, and their sizes: `renewal_info`, as fast at any size.

It is a summary of `expired_on`.
"""

from roadvault_common.sql.db import Database, Transaction
from roadvault_crust_orderer.markets.market import Renewals, mebibytes

BLOCKS_A_DAY = 14_400
"""Of blocks that come every 6 s; a chain with other blocks has other days here, which only round the count up."""


async def note(tx: Transaction, before: int | None, after: int | None, size: int, payer: str = "") -> None:
    """Count an archive of `size` bytes whose order ended at height `before` as one that ends at `after`; None: never.

    `payer` is the account that renews it.

    Sizes that were counted wrongly go with their day: the row of a day goes with its last archive.
    """
    old, new = (None if height is None else height // BLOCKS_A_DAY for height in (before, after))
    if old == new:
        return
    if old is not None:
        await tx.execute(
            "UPDATE renewal_info SET archives = archives - 1, mebibytes = GREATEST(mebibytes - %s, 0)"
            " WHERE payer = %s AND day = %s",
            (mebibytes(size), payer, old),
        )
        await tx.execute("DELETE FROM renewal_info WHERE payer = %s AND day = %s AND archives = 0", (payer, old))
    if new is not None:
        await tx.execute(
            "INSERT INTO renewal_info (payer, day, archives, mebibytes) VALUES (%s, %s, 1, %s)"
            " ON DUPLICATE KEY UPDATE archives = archives + 1, mebibytes = mebibytes + VALUES(mebibytes)",
            (payer, new, mebibytes(size)),
        )


async def until(db: Database, height: int, payer: str) -> Renewals:
    """Return what orders end at or before the end of a height's day (blocks), of an account and of none yet."""
    row = await db.fetch_one(
        "SELECT COALESCE(SUM(archives), 0) AS n, COALESCE(SUM(mebibytes), 0) AS mebibytes"
        " FROM renewal_info WHERE payer IN (%s, '') AND day <= %s",
        (payer, height // BLOCKS_A_DAY),
    )
    return Renewals(int(row["n"]), int(row["mebibytes"])) if row else Renewals(0, 0)
