"""SQL of the requests of a store that was written off: they are worked on by another, or fail for what is lost."""

from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.sql.mirror import fail_request, mirror
from roadvault_common.sql.states import FileStatus, RequestStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import CALLBACK, EXPIRE, FETCH

_AT_ONCE = 100


class LostRequests:
    """The requests of a lost store, and the store `to` that works on them from now on."""

    def __init__(self, db: Database, store: str, to: str) -> None:
        self._db = db
        self._store = store
        self._to = to

    @transacted
    async def step(self, tx: Transaction) -> int:
        """Take over, ask anew, or fail some requests; return how many.

        Those of which nothing is to be done move by themselves (`moving_store.move_ended_requests`).
        """
        ids = await tx.fetch_all(
            "SELECT download_id FROM download_info WHERE store = %s AND (fetch_due IS NOT NULL"
            " OR expire_due IS NOT NULL OR path IS NOT NULL) LIMIT %s",
            (self._store, _AT_ONCE),
        )
        if not ids:
            return 0
        rows = await tx.fetch_all(
            "SELECT download_id, download.file_id, download.status, download.path, fetch_due IS NOT NULL AS fetching,"  # noqa: S608 - marks
            " callback_due IS NOT NULL AS calls, COALESCE(link_expires_at > UTC_TIMESTAMP(6), 0) AS link,"
            " aside.lost_at IS NOT NULL AS lost FROM download_info AS download"
            " LEFT JOIN set_aside_info AS aside ON aside.file_id = download.file_id"
            f" WHERE download_id IN ({marks(ids)}) ORDER BY download_id",
            [row["download_id"] for row in ids],
        )
        for row in rows:
            await self._one(tx, row)
        return len(rows)

    async def _one(self, tx: Transaction, row: Row) -> None:
        download_id, wanted = (
            row["download_id"],
            row["fetching"] or (row["path"] is not None and (row["calls"] or row["link"])),
        )
        await leases.end(tx, EXPIRE, download_id)
        if wanted and row["lost"]:
            for stage in (FETCH, CALLBACK):
                await leases.end(tx, stage, download_id, self._reason())
            await fail_request(tx, download_id)
        elif wanted:
            for stage in (CALLBACK, FETCH):
                await leases.end(tx, stage, download_id)
            await leases.make_due(tx, FETCH, download_id)
            await tx.execute(
                "UPDATE download_info SET status = %s WHERE download_id = %s",
                (RequestStatus.REQUESTED.value, download_id),
            )
            await mirror(tx, row["file_id"], download_id, FileStatus.REQUESTED)
        elif row["status"] != RequestStatus.FAILED:
            await tx.execute(
                "UPDATE download_info SET status = %s, open_key = NULL WHERE download_id = %s",
                (RequestStatus.EXPIRED.value, download_id),
            )
            await mirror(tx, row["file_id"], download_id, FileStatus.EXPIRED)
        if row["path"] is not None:
            told = {"request": download_id, "reason": self._reason().words}
            await record(tx, Line(Act.EXPIRED, told, row["file_id"]))
        await tx.execute(
            "UPDATE download_info SET store = %s, path = NULL, source = NULL WHERE download_id = %s",
            (self._to, download_id),
        )

    def _reason(self) -> Reason:
        return Reason("store_lost", f"lost with the store {self._store}", store=self._store)
