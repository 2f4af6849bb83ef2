"""The orderer's SQL."""

from dataclasses import dataclass

from roadvault_common import lease as leases
from roadvault_common.db import Database, Transaction, duplicate_key
from roadvault_common.errors import PermanentError
from roadvault_common.lease import Lease
from roadvault_common.outcome import Done
from roadvault_crust_orderer.market import FileInfo, Included, Signed

ORDERED, LIVE, EXPIRED = 1, 3, 4
"""`zip_ipfs_info.status`; `roadvault_common.repair` writes 2, order failed."""
BOUGHT, REFUSED, NEVER_INCLUDED = 1, 2, 3
"""`order_info.status`."""


@dataclass(frozen=True)
class Archive:
    """What an order needs to know of an archive. `dag_size` is bytes."""

    zip_id: int
    cid: str
    dag_size: int
    status: int
    replicated: bool
    """Whether the market once counted enough replicas."""
    dropped: bool
    """Whether the local copies went, and nothing was done yet to get them back."""
    terms: int
    """Purchases so far that bought something."""
    terms_wanted: int
    """How many there have to be, besides renewals."""
    bought_at: int | None
    """Block of the latest of them."""


@dataclass(frozen=True)
class Purchase:
    """A purchase that was recorded and is not settled."""

    order_id: int
    zip_id: int
    cid: str
    term: int
    nonce: int
    era_birth: int
    era_death: int
    extrinsic_hash: str
    extrinsic: str


class OrdererStore:
    """Archives and purchases."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archive(self, zip_id: int) -> Archive:
        """Return the archive's row.

        Raises:
            PermanentError: There is none, or it has no CID.
        """
        row = await self._db.fetch_one(
            "SELECT zip_id, cid, dag_size, status, enough_at IS NOT NULL AS replicated,"
            " dropped_at IS NOT NULL AND restored_at IS NULL AND restore_due IS NULL"
            " AND restore_failed_at IS NULL AS dropped,"
            " terms_wanted, COALESCE(term, 0) AS terms, block AS bought_at FROM zip_ipfs_info AS zip"
            " LEFT JOIN (SELECT zip_id, term, block FROM order_info WHERE zip_id = %s AND status = 1"
            " ORDER BY term DESC LIMIT 1) AS latest USING (zip_id) WHERE zip.zip_id = %s",
            (zip_id, zip_id),
        )
        if row is None or row["cid"] is None:
            raise PermanentError(f"archive {zip_id} has no CID to order")
        return Archive(**{**row, "replicated": bool(row["replicated"]), "dropped": bool(row["dropped"])})

    async def in_flight(self, account: str) -> Purchase | None:
        """Return the account's purchase that is not settled, if there is one."""
        return await self._purchase("account = %s AND in_flight = 1", account)

    async def unsettled(self, zip_id: int) -> Purchase | None:
        """Return the archive's purchase that is not settled, whichever account made it."""
        return await self._purchase("zip_id = %s AND in_flight = 1", zip_id)

    async def _purchase(self, where: str, value: object) -> Purchase | None:
        columns = "order_id, zip_id, cid, term, nonce, era_birth, era_death, extrinsic_hash, extrinsic"
        row = await self._db.fetch_one(
            f"SELECT {columns} FROM order_info WHERE {where}",  # noqa: S608 - one of the two conditions above
            (value,),
        )
        return Purchase(**row) if row else None

    async def record(self, lease: Lease, archive: Archive, signed: Signed, price: int) -> Purchase | None:
        """Commit the intent to buy, before anything is sent; None if another purchase is in flight or exists.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """
        term = archive.terms + 1
        order = (signed.nonce, signed.birth, signed.death, signed.extrinsic_hash, signed.extrinsic)

        async def write(tx: Transaction) -> int:
            await leases.hold(tx, lease)
            return await tx.insert(
                "INSERT INTO order_info (zip_id, term, account, cid, declared_size, nonce, era_birth, era_death,"
                " extrinsic_hash, extrinsic, price) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (archive.zip_id, term, signed.account, archive.cid, archive.dag_size, *order, price),
            )

        try:
            order_id = await self._db.transact(write)
        except Exception as error:
            if duplicate_key(error):
                return None
            raise
        return Purchase(order_id, archive.zip_id, archive.cid, term, *order)

    async def settle_bought(self, purchase: Purchase, block: int) -> bool:
        """Note that the purchase is in a finalized block and succeeded; False if that was known."""

        async def write(tx: Transaction) -> bool:
            settled = await tx.execute(
                "UPDATE order_info SET status = %s, in_flight = NULL, block = %s, settled_at = UTC_TIMESTAMP(6)"
                " WHERE order_id = %s AND status = 0",
                (BOUGHT, block, purchase.order_id),
            )
            await tx.execute(
                "UPDATE zip_ipfs_info SET status = IF(status = %s, status, %s),"
                " order_due = COALESCE(order_due, UTC_TIMESTAMP(6)), order_failed_at = NULL WHERE zip_id = %s",
                (LIVE, ORDERED, purchase.zip_id),
            )
            return settled == 1

        return await self._db.transact(write)

    async def settle_void(self, purchase: Purchase, status: int, reason: str, included: Included | None) -> None:
        """Note that the purchase bought nothing: its term is free again."""
        await self._db.execute(
            "UPDATE order_info SET status = %s, in_flight = NULL, term = NULL, reason = %s, block = %s,"
            " settled_at = UTC_TIMESTAMP(6) WHERE order_id = %s AND status = 0",
            (status, reason, included.block if included else None, purchase.order_id),
        )

    async def close_watched(
        self, lease: Lease, info: FileInfo, height: int, seconds_left: float | None, *, replicated: bool, again: float
    ) -> None:
        """Close the lease with what the market says; `replicated` makes the proof due that lets local copies go.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """
        live = info.expires is not None
        status = ORDERED if not live else LIVE if (info.expires or 0) > height else EXPIRED

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, Done(again_after=again))
            await tx.execute(
                "UPDATE zip_ipfs_info SET status = %s, replicas = %s, calculated_at = %s, expired_on = %s,"
                " expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND, checked_at = UTC_TIMESTAMP(6)"
                " WHERE zip_id = %s",
                (status, info.replicas, info.ordered, info.expires, seconds_left, lease.row_id),
            )
            if replicated:
                await tx.execute(
                    "UPDATE zip_ipfs_info SET enough_at = UTC_TIMESTAMP(6), prove_due = UTC_TIMESTAMP(6)"
                    " WHERE zip_id = %s AND enough_at IS NULL",
                    (lease.row_id,),
                )

        await self._db.transact(write)

    async def call_back(self, lease: Lease, archive: Archive) -> None:
        """Have our IPFS node fetch the archive back, one more order placed, and the proof made anew; the lease goes on.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.hold(tx, lease)
            await tx.execute(
                "UPDATE zip_ipfs_info SET restore_due = UTC_TIMESTAMP(6), enough_at = NULL, replicated_at = NULL,"
                " terms_wanted = %s WHERE zip_id = %s",
                (archive.terms + 1, lease.row_id),
            )

        await self._db.transact(write)

    async def note_expired(self, zip_id: int) -> None:
        """Note that the archive's order has run out, or vanished from the market."""
        await self._db.execute("UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s", (EXPIRED, zip_id))

    async def spent(self, days: int) -> int:
        """Return what was committed to purchases since midnight UTC `days` days ago, planck."""
        row = await self._db.fetch_one(
            "SELECT COALESCE(SUM(price), 0) AS spent FROM order_info"
            " WHERE create_time >= UTC_DATE() - INTERVAL %s DAY AND status IN (0, 1)",
            (days,),
        )
        return int(row["spent"]) if row else 0

    async def renewals_until(self, height: int, most: int = 10_000) -> int:
        """Return how many orders end at or before a height, counting no further than `most`."""
        row = await self._db.fetch_one(
            "SELECT COUNT(*) AS n FROM (SELECT 1 FROM zip_ipfs_info WHERE expired_on <= %s LIMIT %s) AS some",
            (height, most),
        )
        return int(row["n"]) if row else 0
