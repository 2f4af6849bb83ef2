"""SQL over all archives, each read along an index of its own (`schema/0011_ages.sql`)."""

from roadvault_common.sql.db import Database
from roadvault_common.sql.states import ArchiveStatus
from roadvault_crust_orderer.store import ENDED, EXPIRED, LIVE

_MOST = 10_000
"""No count goes further."""


class OverviewStore:
    """How the archives stand with the market."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def soonest_expiry(self) -> float | None:
        """Return the seconds until the first live order ends, negative if that has passed; None if there is none."""
        us = await self._db.fetch_value(
            "SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), MIN(expires_at)) FROM zip_ipfs_info WHERE status = %s",
            (LIVE,),
        )
        return None if us is None else us / 1e6

    async def stored(self) -> tuple[int, int]:
        """Return how many archives have an order in force, and their bytes, rounded up to MiB: the sums of days."""
        row = await self._db.fetch_one(
            "SELECT COALESCE(SUM(archives), 0) AS archives, COALESCE(SUM(mebibytes), 0) AS mebibytes FROM renewal_info"
        )
        return (int(row["archives"]), int(row["mebibytes"]) << 20) if row else (0, 0)

    async def in_state(self, state: ArchiveStatus) -> int:
        """Return how many archives are in a state that is passed through; those that are live `stored` tells."""
        return await self._count("status = %s", state.value)

    async def expired(self) -> int:
        """Return how many archives have no order in force any more, also those that nobody could look at since."""
        return await self._count("status = %s", EXPIRED) + await self._count(
            "status = %s AND expires_at <= UTC_TIMESTAMP(6)", LIVE
        )

    async def under(self, floor: int) -> int:
        """Return how many archives whose local copies went have fewer replicas than `floor`."""
        return await self._count(f"replicas < %s AND dropped_at IS NOT NULL AND status <> {ENDED}", floor)

    async def oldest_unreplicated(self) -> float:
        """Return the seconds since the oldest archive that was never dropped here came to IPFS; 0 if there is none."""
        us = await self._db.fetch_value(
            "SELECT TIMESTAMPDIFF(MICROSECOND, MIN(pinned_at), UTC_TIMESTAMP(6)) FROM zip_ipfs_info"
            " WHERE dropped_at IS NULL"
        )
        return 0 if us is None else us / 1e6

    async def _count(self, where: str, value: int) -> int:
        count = await self._db.fetch_value(
            f"SELECT COUNT(*) FROM (SELECT 1 FROM zip_ipfs_info WHERE {where} LIMIT %s) AS some",  # noqa: S608 - the conditions above
            (value, _MOST),
        )
        return int(count)
