"""The SQL of inspections of what is kept here.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import RESTORE


class InspectStore:
    """Writes what inspections came to."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @transacted
    async def close_inspected(self, tx: Transaction, lease: Lease, audit: Audit, again: float) -> bool | None:
        """Close the lease with what was found; True if something is wrong that was not known to be.

        What has rotted is due to be restored. None if another stage has had the archive in hand, or is to: then
        nothing was found, and nothing is written.
        """
        await leases.hold(tx, lease)
        row = await tx.fetch_one(
            "SELECT path IS NOT NULL OR restored_at IS NOT NULL AS kept, drop_token IS NOT NULL"
            " OR pin_due IS NOT NULL OR restore_due IS NOT NULL AS busy FROM zip_ipfs_info WHERE zip_id = %s",
            (lease.row_id,),
        )
        if row is None or not row["kept"] or row["busy"]:
            return None
        await leases.close(tx, lease, Done(again_after=again))
        news = await audits.audited(tx, lease.row_id, Place.LOCAL, audit)
        if audit.reason is not None:
            await leases.make_due(tx, RESTORE, lease.row_id)
        return news
