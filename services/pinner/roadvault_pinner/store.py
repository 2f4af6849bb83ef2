"""The pinner's SQL."""

from dataclasses import dataclass
from datetime import datetime

from roadvault_common import lease as leases
from roadvault_common.db import Database, Transaction
from roadvault_common.errors import PermanentError
from roadvault_common.lease import DROP, ORDER, Lease
from roadvault_common.outcome import Done
from roadvault_common.verify import Member


@dataclass(frozen=True)
class Archive:
    """What the pinner needs to know of an archive. Sizes are bytes; `path` is relative to the data directory."""

    zip_id: int
    path: str | None
    key: str
    master_key: str | None
    iv: str
    size: int
    files: int
    cid: str | None
    replicated_at: datetime | None
    uploads_dropped_at: datetime | None
    restored_at: datetime | None


class PinnerStore:
    """Reads archives and their members, writes what became of them."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archive(self, zip_id: int) -> Archive:
        """Return the archive's row.

        Raises:
            PermanentError: There is none.
        """
        row = await self._db.fetch_one(
            "SELECT zip_id, path, `key`, master_key, iv, size, files, cid, replicated_at, uploads_dropped_at,"
            " restored_at"
            " FROM zip_ipfs_info WHERE zip_id = %s",
            (zip_id,),
        )
        if row is None:
            raise PermanentError(f"there is no archive {zip_id}")
        return Archive(**row)

    async def members(self, zip_id: int) -> list[Member]:
        """Return the archive's members in the order in which they stand in it."""
        rows = await self._db.fetch_all(
            "SELECT file_id, zip_offset AS `offset`, size, sha256 FROM file_upload_info"
            " WHERE zip_id = %s ORDER BY zip_offset",
            (zip_id,),
        )
        return [Member(**row) for row in rows]

    async def close_pinned(self, lease: Lease, cid: str, dag_size: int) -> None:
        """Close the lease: the archive is on IPFS, due for an order, and its uploads may be dropped.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, Done())
            await tx.execute(
                "UPDATE zip_ipfs_info SET cid = %s, dag_size = %s, pinned_at = UTC_TIMESTAMP(6) WHERE zip_id = %s",
                (cid, dag_size, lease.row_id),
            )
            for stage in (ORDER, DROP):
                await leases.make_due(tx, stage, lease.row_id)

        await self._db.transact(write)

    async def close_restored(self, lease: Lease) -> None:
        """Close the lease: our IPFS node holds the archive again.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, Done())
            await tx.execute(
                "UPDATE zip_ipfs_info SET restored_at = UTC_TIMESTAMP(6) WHERE zip_id = %s", (lease.row_id,)
            )

        await self._db.transact(write)

    async def upload_paths(self, zip_id: int) -> list[str]:
        """Return the paths of the archive's uploads that are still recorded."""
        rows = await self._db.fetch_all(
            "SELECT path FROM file_upload_info WHERE zip_id = %s AND path IS NOT NULL", (zip_id,)
        )
        return [row["path"] for row in rows]

    async def close_dropped(self, lease: Lease, *, uploads: bool, archive: bool) -> None:
        """Close the lease and record which local copies went.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, Done())
            if uploads:
                await tx.execute("UPDATE file_upload_info SET path = NULL WHERE zip_id = %s", (lease.row_id,))
                await tx.execute(
                    "UPDATE zip_ipfs_info SET uploads_dropped_at = UTC_TIMESTAMP(6) WHERE zip_id = %s", (lease.row_id,)
                )
            if archive:
                await tx.execute(
                    "UPDATE zip_ipfs_info SET path = NULL, restored_at = NULL, dropped_at = UTC_TIMESTAMP(6)"
                    " WHERE zip_id = %s",
                    (lease.row_id,),
                )
            # Replication may have been noted while this lease was at work: then there is more to drop.
            await tx.execute(
                "UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6) WHERE zip_id = %s"
                " AND replicated_at IS NOT NULL AND (path IS NOT NULL OR restored_at IS NOT NULL"
                " OR uploads_dropped_at IS NULL)",
                (lease.row_id,),
            )

        await self._db.transact(write)
