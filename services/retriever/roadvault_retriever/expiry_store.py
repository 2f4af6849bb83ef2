"""The SQL of extractions past their time.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from dataclasses import dataclass

from roadvault_common.errors import PermanentError
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.sql.mirror import mirror
from roadvault_common.sql.states import FileStatus, RequestStatus
from roadvault_common.stores import MAIN
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_retriever.store import hold_file


@dataclass(frozen=True)
class Extraction:
    """An extracted file, and what still depends on it."""

    download_id: int
    file_id: int
    path: str | None
    status: int
    callback_waits: bool
    link_lives_seconds: float


class ExpiryStore:
    """Reads extractions, writes that they are gone."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def extraction(self, download_id: int) -> Extraction:
        """Return what the expiry of an extraction has to know.

        Raises:
            PermanentError: There is no such request.
        """
        row = await self._db.fetch_one(
            "SELECT download_id, file_id, path, status, callback_due IS NOT NULL AS callback_waits,"
            " COALESCE(TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), link_expires_at) / 1000000, 0)"
            " AS link_lives_seconds FROM download_info WHERE download_id = %s",
            (download_id,),
        )
        if row is None:
            raise PermanentError(f"there is no request {download_id}")
        lives = float(row["link_lives_seconds"])
        return Extraction(**{**row, "callback_waits": bool(row["callback_waits"]), "link_lives_seconds": lives})

    @transacted
    async def close_unless_last(self, tx: Transaction, lease: Lease, extraction: Extraction) -> bool:
        """Close the lease if other requests name the same file, which stays; False, with nothing written, if none does.

        Then no other request takes the file before this one is closed.
        """
        await hold_file(tx, extraction.file_id)
        await leases.hold(tx, lease)
        other = await tx.fetch_one(
            "SELECT 1 FROM download_info WHERE file_id = %s AND path = %s AND download_id <> %s LIMIT 1",
            (extraction.file_id, extraction.path, lease.row_id),
        )
        if other is None:
            return False
        await _write_expired(tx, lease, extraction)
        return True

    async def close_expired(self, lease: Lease, extraction: Extraction) -> None:
        """Close the lease: the extraction is gone; a failed request stays failed."""
        await self._db.transact(lambda tx: _write_expired(tx, lease, extraction))

    async def hasten_expiry(self, limit: int) -> int:
        """Make extractions due that nobody can fetch any more: their link is over, or their callback was given up."""
        return await self._db.execute(
            "UPDATE download_info SET expire_due = UTC_TIMESTAMP(6) WHERE store = %s AND expire_due > UTC_TIMESTAMP(6)"
            " AND expire_token IS NULL AND callback_due IS NULL AND path IS NOT NULL"
            " AND (link_expires_at IS NULL OR link_expires_at < UTC_TIMESTAMP(6)) ORDER BY expire_due LIMIT %s",
            (self._name, limit),
        )


async def _write_expired(tx: Transaction, lease: Lease, extraction: Extraction) -> None:
    await leases.close(tx, lease, Done())
    await tx.execute(
        "UPDATE download_info SET path = NULL, open_key = NULL, status = IF(status = %s, status, %s)"
        " WHERE download_id = %s",
        (RequestStatus.FAILED.value, RequestStatus.EXPIRED.value, lease.row_id),
    )
    await record(tx, Line(Act.EXPIRED, {"request": extraction.download_id}, extraction.file_id))
    if extraction.status != RequestStatus.FAILED:
        await mirror(tx, extraction.file_id, extraction.download_id, FileStatus.EXPIRED)
