"""The SQL of the page of money: days of renewals, and the latest purchases."""

from roadvault_common.sql.db import Database, Row

BLOCKS = 14_400
"""By which renewals are counted: a day, of blocks that come every 6 s."""
_SHOWN = 12


class MoneyPageStore:
    """Reads what the page of money shows."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def renewals(self, limit: int) -> list[Row]:
        """Return how many orders end on which day, and their sizes, the first first."""
        return await self._db.fetch_all(
            "SELECT day, SUM(archives) AS archives, SUM(mebibytes) AS mebibytes FROM renewal_info GROUP BY day"
            " ORDER BY day LIMIT %s",
            (limit,),
        )

    async def latest(self) -> list[Row]:
        """Return the latest purchases."""
        return await self._db.fetch_all(
            "SELECT order_id, zip_id, term, status, price, reason, settled_at, create_time FROM order_info"
            " ORDER BY order_id DESC LIMIT %s",
            (_SHOWN,),
        )
