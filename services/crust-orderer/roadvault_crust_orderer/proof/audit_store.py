"""The SQL of audits of the network's copies.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from dataclasses import dataclass

from roadvault_common.ipfs.path import archive_path
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import ORDER, RESTORE
from roadvault_crust_orderer.proof import evidence_store
from roadvault_crust_orderer.store import BOUGHT, ENDED


@dataclass(frozen=True)
class Other:
    """Another archive."""

    zip_id: int
    path: str
    """On IPFS."""


class AuditStore:
    """Writes what audits came to."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def another(self, zip_id: int) -> Other | None:
        """Return the archive that was found sound last, other than this one; None if there is none."""
        row = await self._db.fetch_one(
            "SELECT zip_id, cid, format FROM audit_info JOIN zip_ipfs_info USING (zip_id)"
            " WHERE place = %s AND sound = 1 AND zip_id <> %s AND status <> %s ORDER BY audited_at DESC LIMIT 1",
            (Place.NETWORK.value, zip_id, ENDED),
        )
        return None if row is None else Other(row["zip_id"], archive_path(row["cid"], row["format"]))

    @transacted
    async def close_sound(self, tx: Transaction, lease: Lease, audit: Audit, again: float) -> None:
        """Close the lease of an audit that found all as it should be; the next is due in `again` seconds."""
        await leases.close(tx, lease, Done(again_after=again))
        await audits.audited(tx, lease.row_id, Place.NETWORK, audit)

    @transacted
    async def close_missed(self, tx: Transaction, lease: Lease, audit: Audit, again: float) -> bool:
        """Close the lease of an audit that did not get what it asked for; True if that is news.

        Then the evidence is void, and one more order is wanted. Each time our node is to fetch the archive back.
        """
        await leases.close(tx, lease, Done(again_after=again))
        news = await audits.audited(tx, lease.row_id, Place.NETWORK, audit)
        if news:
            await evidence_store.void(tx, lease.row_id, f"an audit failed: {audit.reason}")
            await tx.execute(
                "UPDATE zip_ipfs_info SET terms_wanted = 1 + COALESCE((SELECT MAX(term) FROM order_info"
                " WHERE order_info.zip_id = zip_ipfs_info.zip_id AND order_info.status = %s), 0) WHERE zip_id = %s",
                (BOUGHT, lease.row_id),
            )
            await leases.make_due(tx, ORDER, lease.row_id, hurry=False)
        await leases.make_due(tx, RESTORE, lease.row_id)
        return news
