"""Cancels one request, as a batch's are when it is cancelled."""

from roadvault_common.sql.db import Database, Transaction
from roadvault_common.sql.mirror import fail_request
from roadvault_common.work import lease as leases
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import CALLBACK, FETCH

_CANCELLED = Reason("cancelled", "cancelled by a person")


async def cancel(db: Database, download_id: int) -> bool:
    """Cancel a request; False if it has ended, or is being called back at this moment and ends by itself."""

    async def write(tx: Transaction) -> bool:
        # In this order as the retriever does: who meets a deadlock begins again.
        row = await tx.fetch_one("SELECT file_id FROM download_info WHERE download_id = %s", (download_id,))
        if row is None:
            return False
        await tx.fetch_one("SELECT file_id FROM file_upload_info WHERE file_id = %s FOR UPDATE", (row["file_id"],))
        request = await tx.fetch_one(
            "SELECT open_key, callback_token IS NOT NULL AND callback_due > UTC_TIMESTAMP(6) AS calling"
            " FROM download_info WHERE download_id = %s FOR UPDATE",
            (download_id,),
        )
        if request is None or request["open_key"] is None or request["calling"]:
            return False
        for stage in (FETCH, CALLBACK):
            await leases.end(tx, stage, download_id, _CANCELLED)
        await fail_request(tx, download_id)
        return True

    return await db.transact(write)
