"""The SQL of looking at archives: what a look has found is written for many at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.work import batches
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Failed, Outcome
from roadvault_common.work.repair import note_failed
from roadvault_common.work.stages import ORDER
from roadvault_common.work.stores import found_after_all
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.markets.market import FileInfo, Head
from roadvault_crust_orderer.proof import evidence_store
from roadvault_crust_orderer.proof.evidence_store import Count
from roadvault_crust_orderer.store import ENDED, EXPIRED, INTENDED, LIVE, ORDER_FAILED, ORDERED


@dataclass(frozen=True)
class Seen:
    """What the market says of an archive at a head, and what that is worth as evidence. Times are in seconds."""

    info: FileInfo | None
    head: Head
    count: Count
    left: float | None
    """Until the order ends."""


@dataclass(frozen=True)
class Look:
    """What a look at an archive came to; `seen` is None where the market's answer says nothing of the present."""

    lease: Lease
    outcome: Outcome
    seen: Seen | None = None
    buy_in: float | None = None
    """Seconds until something has to be bought, or looked at again by who buys; None where nobody can tell now."""
    over: bool = False
    """The archive's time is over: it is not renewed any more."""
    audit_in: float | None = None
    """Seconds until its first audit, of an archive that the network has by now."""


class WatchingStore:
    """Writes what looks have found."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @transacted
    async def close(self, tx: Transaction, looks: Sequence[Look]) -> set[int]:
        """Close the leases of looks that were claimed together, with what was found; return who has new evidence.

        What another worker has meanwhile is left to it.
        """
        held = await batches.hold(tx, [look.lease for look in looks])
        rows = {row["zip_id"]: row for row in await self._rows(tx, sorted(held))} if held else {}
        return {look.lease.row_id for look in looks if look.lease.row_id in rows and await _write(tx, look, rows)}

    async def _rows(self, tx: Transaction, zip_ids: Sequence[int]) -> list[Row]:
        """Return what has to be known of archives that are held; whoever records a purchase has to hold them, too."""
        return await tx.fetch_all(
            "SELECT zip_id, payer, expired_on, dag_size, EXISTS (SELECT 1 FROM order_info"  # noqa: S608
            " WHERE order_info.zip_id = zip_ipfs_info.zip_id AND order_info.status = %s) AS unsettled,"
            " lost_at IS NOT NULL AS lost"
            f" FROM zip_ipfs_info LEFT JOIN lost_zip_info USING (zip_id) WHERE zip_id IN ({marks(zip_ids)})",
            (INTENDED, *zip_ids),
        )


async def _write(tx: Transaction, look: Look, rows: dict[int, Row]) -> bool:
    """Write one look; True if there is evidence where there was none."""
    zip_id, row = look.lease.row_id, rows[look.lease.row_id]
    found = False
    if look.seen is not None:
        found = await evidence_store.note(tx, zip_id, look.seen.count)
        if look.seen.info is not None:
            await _note_info(tx, row, look.seen, look.seen.info)
            if row["lost"] and look.seen.info.replicas:
                await found_after_all(tx, zip_id)
    if look.over:
        await renewals_store.note(tx, row["expired_on"], None, row["dag_size"], row["payer"])
        await tx.execute("UPDATE zip_ipfs_info SET expired_on = NULL WHERE zip_id = %s", (zip_id,))
    if look.audit_in is not None:
        await evidence_store.plan_audit(tx, zip_id, look.audit_in)
    if look.buy_in is not None and not row["unsettled"]:  # a purchase that is to be settled has its own time
        await batches.schedule(tx, ORDER, zip_id, look.buy_in)
    await leases.close(tx, look.lease, look.outcome)
    if isinstance(look.outcome, Failed):
        await note_failed(tx, look.lease.stage, zip_id)
    return found


async def _note_info(tx: Transaction, row: Row, seen: Seen, info: FileInfo) -> None:
    await renewals_store.note(tx, row["expired_on"], info.expires, row["dag_size"], row["payer"])
    status = ORDERED if info.expires is None else LIVE if info.expires > seen.head.height else EXPIRED
    await tx.execute(
        "UPDATE zip_ipfs_info SET status = IF(status IN (%s, %s), status, %s), replicas = %s, calculated_at = %s,"
        " expired_on = %s, expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND, checked_at = UTC_TIMESTAMP(6)"
        " WHERE zip_id = %s",
        (ORDER_FAILED, ENDED, status, info.replicas, info.calculated, info.expires, seen.left, row["zip_id"]),
    )
