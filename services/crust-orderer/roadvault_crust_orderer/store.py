"""The orderer's SQL."""

from dataclasses import dataclass

from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database, Transaction, duplicate_key
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import ORDER, RESTORE, Lease
from roadvault_common.work.outcome import Done, Failed, Outcome
from roadvault_common.work.repair import note_failed
from roadvault_crust_orderer import renewals_store
from roadvault_crust_orderer.markets.market import FileInfo, Included, Signed
from roadvault_crust_orderer.proof import evidence_store

NOT_ORDERED, ORDERED, LIVE, EXPIRED = 0, 1, 3, 4
"""`zip_ipfs_info.status`; `roadvault_common.work.repair` writes 2, order failed, and 0 again when a person retries."""
BOUGHT, REFUSED, NEVER_INCLUDED = 1, 2, 3
"""`order_info.status`."""


@dataclass(frozen=True)
class Archive:
    """What an order needs to know of an archive. `dag_size` is bytes."""

    zip_id: int
    cid: str
    dag_size: int
    status: int
    gone: bool
    """Whether the local copies went, and are not back."""
    dropped: bool
    """Whether they are gone, and nothing was done yet to get them back."""
    restore_failure: str | None
    """Why they could not be fetched back."""
    terms: int
    """Purchases so far that bought something, at any market."""
    terms_wanted: int
    """How many there have to be, besides renewals."""
    bought_at: int | None
    """Block of the latest of them, if it was made at this market."""
    bought_before: int | None
    """Block of the one before it, likewise."""


@dataclass(frozen=True)
class Purchase:
    """A purchase that was recorded and is not settled."""

    order_id: int
    zip_id: int
    market: str | None
    """Where it was made; None if that was not noted then."""
    cid: str
    term: int
    nonce: int
    era_birth: int
    era_death: int
    extrinsic_hash: str
    extrinsic: str


@dataclass(frozen=True)
class Refusal:
    """A purchase that the market refused, which nobody was told of yet."""

    order_id: int
    error: str


class OrdererStore:
    """Archives and purchases."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archive(self, zip_id: int, market: str) -> Archive:
        """Return the archive's row, as it matters at a market.

        Raises:
            PermanentError: There is none, or it has no CID.
        """
        row = await self._db.fetch_one(
            "SELECT zip_id, cid, dag_size, status, dropped_at IS NOT NULL AND restored_at IS NULL AS gone,"
            " dropped_at IS NOT NULL AND restored_at IS NULL AND restore_due IS NULL"
            " AND restore_failed_at IS NULL AS dropped,"
            " IF(restore_failed_at IS NULL, NULL, restore_reason) AS restore_failure, terms_wanted"
            " FROM zip_ipfs_info WHERE zip_id = %s",
            (zip_id,),
        )
        if row is None or row["cid"] is None:
            raise PermanentError(f"archive {zip_id} has no CID to order")
        bought = await self._db.fetch_all(
            "SELECT term, IF(market IS NULL OR market = %s, block, NULL) AS block FROM order_info"
            " WHERE zip_id = %s AND status = 1 ORDER BY term DESC LIMIT 2",
            (market, zip_id),
        )
        flags = {name: bool(row[name]) for name in ("gone", "dropped")}
        blocks = [purchase["block"] for purchase in bought] + [None, None]
        terms = bought[0]["term"] if bought else 0
        return Archive(**{**row, **flags}, terms=terms, bought_at=blocks[0], bought_before=blocks[1])

    async def refusal(self, zip_id: int) -> Refusal | None:
        """Return the archive's latest purchase if the market refused it, until that was reported."""
        row = await self._db.fetch_one(
            "SELECT order_id, status, reported_at, reason AS error FROM order_info WHERE zip_id = %s"
            " ORDER BY order_id DESC LIMIT 1",
            (zip_id,),
        )
        if row is None or row["status"] != REFUSED or row["reported_at"] is not None:
            return None
        return Refusal(row["order_id"], row["error"])

    async def in_flight(self, account: str) -> Purchase | None:
        """Return the account's purchase that is not settled, if there is one."""
        return await self._purchase("account = %s AND in_flight = 1", account)

    async def unsettled(self, zip_id: int) -> Purchase | None:
        """Return the archive's purchase that is not settled, whichever account made it, and at whichever market."""
        return await self._purchase("zip_id = %s AND status = 0", zip_id)

    async def _purchase(self, where: str, value: object) -> Purchase | None:
        columns = "order_id, zip_id, market, cid, term, nonce, era_birth, era_death, extrinsic_hash, extrinsic"
        row = await self._db.fetch_one(
            f"SELECT {columns} FROM order_info WHERE {where}",  # noqa: S608 - one of the two conditions above
            (value,),
        )
        return Purchase(**row) if row else None

    async def record(
        self, lease: Lease, archive: Archive, signed: Signed, price: int, market: str, fee: int = 0
    ) -> Purchase | None:
        """Commit the intent to buy, before anything is sent; None if another purchase is in flight or exists.

        `fee` is the part of the price (planck) that is spent even if the market refuses.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """
        term = archive.terms + 1
        order = (signed.nonce, signed.birth, signed.death, signed.extrinsic_hash, signed.extrinsic)

        async def write(tx: Transaction) -> int:
            await leases.hold(tx, lease)
            return await tx.insert(
                "INSERT INTO order_info (zip_id, term, account, market, cid, declared_size, nonce, era_birth,"
                " era_death, extrinsic_hash, extrinsic, price, fee)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                (archive.zip_id, term, signed.account, market, archive.cid, archive.dag_size, *order, price, fee),
            )

        try:
            order_id = await self._db.transact(write)
        except Exception as error:
            if duplicate_key(error):
                return None
            raise
        return Purchase(order_id, archive.zip_id, market, archive.cid, term, *order)

    async def settle_bought(self, purchase: Purchase, block: int) -> bool:
        """Note that the purchase is in a finalized block and succeeded; False if that was known."""

        async def write(tx: Transaction) -> bool:
            settled = await tx.execute(
                "UPDATE order_info SET status = %s, in_flight = NULL, block = %s, settled_at = UTC_TIMESTAMP(6)"
                " WHERE order_id = %s AND status = 0",
                (BOUGHT, block, purchase.order_id),
            )
            if settled != 1:
                return False
            # Another archive's turn may have settled it after this one was given up: what a person was asked about
            # has been answered, and an order that runs has to be watched.
            await leases.revive(tx, ORDER, purchase.zip_id)
            await tx.execute(
                "UPDATE zip_ipfs_info SET status = IF(status = %s, status, %s) WHERE zip_id = %s",
                (LIVE, ORDERED, purchase.zip_id),
            )
            return True

        return await self._db.transact(write)

    async def settle_void(self, purchase: Purchase, status: int, reason: str, included: Included | None) -> None:
        """Note that the purchase bought nothing: its term is free again, and no more than its fee is spent."""
        await self._db.execute(
            "UPDATE order_info SET status = %s, in_flight = NULL, term = NULL, reason = %s, block = %s, price = fee,"
            " settled_at = UTC_TIMESTAMP(6) WHERE order_id = %s AND status = 0",
            (status, reason, included.block if included else None, purchase.order_id),
        )

    async def set_aside(self, purchase: Purchase) -> None:
        """Let the account buy here while a purchase of its at another market is not settled; its archive waits on."""
        await self._db.execute("UPDATE order_info SET in_flight = NULL WHERE order_id = %s", (purchase.order_id,))

    async def close_refused(self, lease: Lease, refusal: Refusal, outcome: Outcome) -> None:
        """Close the lease with what a refusal means for its archive, and note that it was reported.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, outcome)
            if isinstance(outcome, Failed):
                await note_failed(tx, lease.stage, lease.row_id)
            await tx.execute(
                "UPDATE order_info SET reported_at = UTC_TIMESTAMP(6) WHERE order_id = %s", (refusal.order_id,)
            )

        await self._db.transact(write)

    async def close_watched(
        self, lease: Lease, info: FileInfo, height: int, seconds_left: float | None, *, again: float
    ) -> None:
        """Close the lease with what the market says, to be looked at `again` after so many seconds.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """
        live = info.expires is not None
        status = ORDERED if not live else LIVE if (info.expires or 0) > height else EXPIRED

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, Done(again_after=again))
            row = await tx.fetch_one(
                "SELECT expired_on, dag_size FROM zip_ipfs_info WHERE zip_id = %s", (lease.row_id,)
            )
            if row is not None:
                await renewals_store.note(tx, row["expired_on"], info.expires, row["dag_size"])
            await tx.execute(
                "UPDATE zip_ipfs_info SET status = %s, replicas = %s, calculated_at = %s, expired_on = %s,"
                " expires_at = UTC_TIMESTAMP(6) + INTERVAL %s SECOND, checked_at = UTC_TIMESTAMP(6)"
                " WHERE zip_id = %s",
                (status, info.replicas, info.calculated, info.expires, seconds_left, lease.row_id),
            )

        await self._db.transact(write)

    async def call_back(self, lease: Lease, archive: Archive) -> None:
        """Have our IPFS node fetch the archive back, one more order placed, and the proof made anew; the lease goes on.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.hold(tx, lease)
            await evidence_store.void(tx, lease.row_id, "called back: the network holds too little of it")
            await tx.execute(
                "UPDATE zip_ipfs_info SET terms_wanted = %s WHERE zip_id = %s", (archive.terms + 1, lease.row_id)
            )
            await leases.make_due(tx, RESTORE, lease.row_id)

        await self._db.transact(write)

    async def note_expired(self, zip_id: int) -> None:
        """Note that the archive's order has run out, or vanished from the market."""
        await self._db.execute(
            "UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s AND status IN (%s, %s)",
            (EXPIRED, zip_id, ORDERED, LIVE),
        )

    async def spent(self, days: int) -> int:
        """Return what purchases cost, or will, that were made since midnight UTC `days` days ago, planck, as quoted."""
        row = await self._db.fetch_one(
            "SELECT COALESCE(SUM(price), 0) AS spent FROM order_info"
            " WHERE create_time >= UTC_DATE() - INTERVAL %s DAY AND status IN (0, 1, 2)",
            (days,),
        )
        return int(row["spent"]) if row else 0

    async def last_block(self, market: str) -> int | None:
        """Return the highest block in which an order of ours is known to be at a market, or None."""
        row = await self._db.fetch_one("SELECT MAX(block) AS block FROM order_info WHERE market = %s", (market,))
        return row["block"] if row else None

    async def latest(self) -> tuple[str, int] | None:
        """Return CID and size (bytes) of the archive that came to IPFS last, or None."""
        row = await self._db.fetch_one(
            "SELECT cid, dag_size FROM zip_ipfs_info WHERE dag_size IS NOT NULL ORDER BY zip_id DESC LIMIT 1"
        )
        return (row["cid"], row["dag_size"]) if row else None
