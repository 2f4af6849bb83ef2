"""The SQL of purchases: recorded before they are sent, then settled. Only crust-orderer writes them.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from dataclasses import dataclass

from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, transacted
from roadvault_common.sql.server_errors import duplicate_key
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Failed, Outcome
from roadvault_common.work.repair import note_failed
from roadvault_common.work.stages import ORDER
from roadvault_crust_orderer.markets.market import Included, Signed
from roadvault_crust_orderer.store import BOUGHT, ENDED, INTENDED, LIVE, ORDERED, REFUSED, Archive


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


class PurchaseStore:
    """Purchases, and what they mean for their archives."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def record(
        self, lease: Lease, archive: Archive, signed: Signed, price: int, market: str, fee: int = 0
    ) -> Purchase | None:
        """Commit the intent to buy, before anything is sent; None if another purchase is in flight or exists.

        `fee` is the part of the price (planck) that is spent even if the market refuses.
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

    @transacted
    async def settle_bought(
        self, tx: Transaction, purchase: Purchase, block: int, block_hash: str | None = None
    ) -> bool:
        """Note that the purchase is in a finalized block and succeeded; False if that was known."""
        settled = await tx.execute(
            "UPDATE order_info SET status = %s, in_flight = NULL, block = %s, block_hash = %s,"
            " settled_at = UTC_TIMESTAMP(6) WHERE order_id = %s AND status = %s",
            (BOUGHT, block, block_hash, purchase.order_id, INTENDED),
        )
        if settled != 1:
            return False
        facts = {"order": purchase.order_id, "extrinsic": purchase.extrinsic_hash, "block": block}
        facts |= {"blockHash": block_hash, "market": purchase.market, "cid": purchase.cid}
        await record(tx, Line(Act.BOUGHT, facts, zip_id=purchase.zip_id))
        # Another archive's turn may have settled it after this one was given up: what a person was asked about
        # has been answered, and an order that runs has to be watched.
        await leases.revive(tx, ORDER, purchase.zip_id)
        await tx.execute(
            # The catalogue names the latest purchase, which the row itself does not.
            "UPDATE zip_ipfs_info SET status = IF(status IN (%s, %s), status, %s), catalogued = NULL WHERE zip_id = %s",
            (LIVE, ENDED, ORDERED, purchase.zip_id),
        )
        return True

    async def settle_void(self, purchase: Purchase, status: int, reason: str, included: Included | None) -> None:
        """Note that the purchase bought nothing: its term is free again, and no more than its fee is spent."""
        await self._db.execute(
            "UPDATE order_info SET status = %s, in_flight = NULL, term = NULL, reason = %s, block = %s, price = fee,"
            " settled_at = UTC_TIMESTAMP(6) WHERE order_id = %s AND status = %s",
            (status, reason, included.block if included else None, purchase.order_id, INTENDED),
        )

    async def set_aside(self, purchase: Purchase) -> None:
        """Let the account buy here while a purchase of its at another market is not settled; its archive waits on."""
        await self._db.execute("UPDATE order_info SET in_flight = NULL WHERE order_id = %s", (purchase.order_id,))

    @transacted
    async def close_refused(self, tx: Transaction, lease: Lease, refusal: Refusal, outcome: Outcome) -> None:
        """Close the lease with what a refusal means for its archive, and note that it was reported."""
        await leases.close(tx, lease, outcome)
        if isinstance(outcome, Failed):
            await note_failed(tx, lease.stage, lease.row_id)
        await tx.execute(
            "UPDATE order_info SET reported_at = UTC_TIMESTAMP(6) WHERE order_id = %s", (refusal.order_id,)
        )

    async def in_flight(self, account: str) -> Purchase | None:
        """Return the account's purchase that is not settled, if there is one."""
        return await self._purchase("account = %s AND in_flight = 1", account)

    async def unsettled(self, zip_id: int) -> Purchase | None:
        """Return the archive's purchase that is not settled, whichever account made it, and at whichever market."""
        return await self._purchase("zip_id = %s AND status = %s", zip_id, INTENDED)

    async def _purchase(self, where: str, *values: object) -> Purchase | None:
        columns = "order_id, zip_id, market, cid, term, nonce, era_birth, era_death, extrinsic_hash, extrinsic"
        row = await self._db.fetch_one(
            f"SELECT {columns} FROM order_info WHERE {where}",  # noqa: S608 - one of the two conditions above
            values,
        )
        return Purchase(**row) if row else None

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

    async def spent(self, account: str, days: int) -> int:
        """Return what an account's purchases cost, or will, since midnight UTC `days` days ago, planck, as quoted."""
        spent = await self._db.fetch_value(
            "SELECT COALESCE(SUM(price), 0) FROM order_info"
            " WHERE account = %s AND create_time >= UTC_DATE() - INTERVAL %s DAY AND status IN (%s, %s, %s)",
            (account, days, INTENDED, BOUGHT, REFUSED),
        )
        return int(spent)

    async def last_block(self, market: str) -> int | None:
        """Return the highest block in which an order of ours is known to be at a market, or None."""
        block: int | None = await self._db.fetch_value("SELECT MAX(block) FROM order_info WHERE market = %s", (market,))
        return block
