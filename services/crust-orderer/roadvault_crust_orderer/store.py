"""The orderer's SQL."""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.errors import PermanentError
from roadvault_common.sql.db import Database, Row, Transaction, duplicate_key
from roadvault_common.sql.states import ArchiveStatus, OrderStatus
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import ORDER, RESTORE, WATCH, Lease
from roadvault_common.work.outcome import Done, Failed, Outcome
from roadvault_common.work.repair import note_failed
from roadvault_crust_orderer.markets.market import Included, Signed
from roadvault_crust_orderer.proof import evidence_store

NOT_ORDERED, ORDERED, ORDER_FAILED, LIVE, EXPIRED = (status.value for status in ArchiveStatus)
"""`zip_ipfs_info.status`; `roadvault_common.work.repair` writes `ORDER_FAILED`, and 0 again when a person retries."""
_, BOUGHT, REFUSED, NEVER_INCLUDED = (status.value for status in OrderStatus)
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
class Turn:
    """An archive, and in how many seconds it is due to be attended to."""

    zip_id: int
    seconds: float


@dataclass(frozen=True)
class Refusal:
    """A purchase that the market refused, which nobody was told of yet."""

    order_id: int
    error: str


def _archive(row: Row, bought: Sequence[Row]) -> Archive:
    """Return an archive from its row and its purchases that bought something, the latest first."""
    flags = {name: bool(row[name]) for name in ("gone", "dropped")}
    blocks = [purchase["block"] for purchase in bought] + [None, None]
    terms = bought[0]["term"] if bought else 0
    return Archive(**{**row, **flags}, terms=terms, bought_at=blocks[0], bought_before=blocks[1])


class OrdererStore:
    """Archives and purchases."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def archive(self, zip_id: int, market: str) -> Archive:
        """Return the archive's row, as it matters at a market.

        Raises:
            PermanentError: There is none, or it has no CID.
        """
        archives = await self.archives([zip_id], market)
        if not archives:
            raise PermanentError(f"archive {zip_id} has no CID to order")
        return archives[0]

    async def archives(self, zip_ids: Sequence[int], market: str) -> list[Archive]:
        """Return those of the archives that have a CID, as they matter at a market."""
        some = f"zip_id IN ({', '.join(['%s'] * len(zip_ids))})"
        rows = await self._db.fetch_all(
            "SELECT zip_id, cid, dag_size, status, dropped_at IS NOT NULL AND restored_at IS NULL AS gone,"  # noqa: S608
            " dropped_at IS NOT NULL AND restored_at IS NULL AND restore_due IS NULL"
            " AND restore_failed_at IS NULL AS dropped,"
            " IF(restore_failed_at IS NULL, NULL, restore_reason) AS restore_failure, terms_wanted"
            f" FROM zip_ipfs_info WHERE {some} AND cid IS NOT NULL",
            tuple(zip_ids),
        )
        bought: dict[int, list[Row]] = {}
        for purchase in await self._db.fetch_all(
            "SELECT zip_id, term, IF(market IS NULL OR market = %s, block, NULL) AS block FROM order_info"  # noqa: S608
            f" WHERE {some} AND status = 1 ORDER BY zip_id DESC, term DESC",
            (market, *zip_ids),
        ):
            bought.setdefault(purchase["zip_id"], []).append(purchase)
        return [_archive(row, bought.get(row["zip_id"], [])) for row in rows]

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

    async def turn_in_flight(self, account: str) -> Turn | None:
        """Return the archive whose purchase the account has in flight, if it is to be attended to at all."""
        row = await self._db.fetch_one(
            "SELECT zip_id, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), order_due) AS us"
            " FROM order_info JOIN zip_ipfs_info USING (zip_id)"
            " WHERE account = %s AND in_flight = 1 AND order_due IS NOT NULL",
            (account,),
        )
        return None if row is None else Turn(row["zip_id"], row["us"] / 1e6)

    async def next_renewal(self) -> int | None:
        """Return, of the archives that are due and have had an order that ran, the one whose order ends first."""
        return await self._next("order_renews = 1 AND order_due <= UTC_TIMESTAMP(6) ORDER BY expires_at")

    async def next_new(self) -> int | None:
        """Return, of the archives that are due and never had an order that ran, the one that is due the longest."""
        return await self._next("order_renews = 0 AND order_due <= UTC_TIMESTAMP(6) ORDER BY order_due")

    async def _next(self, which: str) -> int | None:
        row = await self._db.fetch_one(
            f"SELECT zip_id FROM zip_ipfs_info WHERE {which} LIMIT 1"  # noqa: S608 - one of the two above
        )
        return row["zip_id"] if row else None

    async def seconds_to_turn(self) -> float:
        """Return in how many seconds the next archive is due to be attended to; infinite if none is."""
        seconds = await backlog.seconds_to_next(self._db, ORDER)
        return float("inf") if seconds is None else max(seconds, 0)

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

    async def close_rested(self, lease: Lease, again: float) -> None:
        """Close the lease of an archive that needs nothing before `again` (seconds), and have it looked at.

        Raises:
            LeaseLost: Another worker has the archive; nothing was written.
        """

        async def write(tx: Transaction) -> None:
            await leases.close(tx, lease, Done(again_after=again))
            await leases.make_due(tx, WATCH, lease.row_id)

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
