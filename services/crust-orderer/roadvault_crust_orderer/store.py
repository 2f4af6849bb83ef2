"""The SQL of archives, as who watches and who buys see them; see the other `*_store.py` for the rest.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from roadvault_common.errors import PermanentError
from roadvault_common.retention.ends import HELD
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.sql.states import ArchiveStatus, OrderStatus
from roadvault_common.work import backlog
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import ORDER, RESTORE, WATCH
from roadvault_crust_orderer.proof import evidence_store

NOT_ORDERED, ORDERED, ORDER_FAILED, LIVE, EXPIRED, ENDED = (status.value for status in ArchiveStatus)
"""`zip_ipfs_info.status`; `roadvault_common.work.repair` writes `ORDER_FAILED`, and 0 again when a person retries."""
INTENDED, BOUGHT, REFUSED, NEVER_INCLUDED = (status.value for status in OrderStatus)
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
    ended: bool
    """Whether its time is over, and its key was destroyed."""
    lost: bool
    """Whether it was lost with its store: nothing is bought for what nobody has any more."""
    ends_in: float | None
    """Seconds until its time is over, negative if it is; None: never, as far as is known, or a hold keeps it."""
    terms: int
    """Purchases so far that bought something, at any market."""
    terms_wanted: int
    """How many there have to be, besides renewals."""
    bought_at: int | None
    """Block of the latest of them for its CID, if it was made at this market."""
    bought_before: int | None
    """Block of the one before it, likewise."""

    @property
    def over(self) -> bool:
        """Whether its time is over: nothing is bought for it any more."""
        return self.ended or (self.ends_in is not None and self.ends_in <= 0)


@dataclass(frozen=True)
class Turn:
    """An archive, and in how many seconds it is due to be attended to."""

    zip_id: int
    seconds: float


def _archive(row: Row, bought: Sequence[Row]) -> Archive:
    """Return an archive from its row and its purchases that bought something, the latest first."""
    flags = {name: bool(row[name]) for name in ("gone", "dropped", "ended", "lost")}
    # The catalogue's CID is another with time: what was bought for the one before says nothing of this one.
    blocks = [purchase["block"] for purchase in bought if purchase["cid"] == row["cid"]] + [None, None]
    terms = bought[0]["term"] if bought else 0
    return Archive(**{**row, **flags}, terms=terms, bought_at=blocks[0], bought_before=blocks[1])


class OrdererStore:
    """Archives, and whose turn it is."""

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
        some = f"zip_id IN ({marks(zip_ids)})"
        rows = await self._db.fetch_all(
            "SELECT zip_id, cid, dag_size, status, dropped_at IS NOT NULL AND restored_at IS NULL AS gone,"  # noqa: S608
            " dropped_at IS NOT NULL AND restored_at IS NULL AND restore_due IS NULL"
            " AND restore_failed_at IS NULL AS dropped,"
            " IF(restore_failed_at IS NULL, NULL, restore_reason) AS restore_failure, terms_wanted,"
            " ends.shredded_at IS NOT NULL AS ended,"
            " lost.lost_at IS NOT NULL AS lost,"
            f" IF({HELD.format(zip='zip_ipfs_info')}, NULL,"
            " TIMESTAMPDIFF(SECOND, UTC_TIMESTAMP(6), ends.ends_at)) AS ends_in"
            f" FROM zip_ipfs_info LEFT JOIN retention_info AS ends USING (zip_id)"
            f" LEFT JOIN lost_zip_info AS lost USING (zip_id) WHERE {some} AND cid IS NOT NULL",
            tuple(zip_ids),
        )
        bought: dict[int, list[Row]] = {}
        for purchase in await self._db.fetch_all(
            "SELECT zip_id, cid, term, IF(market IS NULL OR market = %s, block, NULL) AS block FROM order_info"  # noqa: S608
            f" WHERE {some} AND status = %s ORDER BY zip_id DESC, term DESC",
            (market, *zip_ids, BOUGHT),
        ):
            bought.setdefault(purchase["zip_id"], []).append(purchase)
        return [_archive(row, bought.get(row["zip_id"], [])) for row in rows]

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
        zip_id: int | None = await self._db.fetch_value(
            f"SELECT zip_id FROM zip_ipfs_info WHERE {which} LIMIT 1"  # noqa: S608 - one of the two above
        )
        return zip_id

    async def seconds_to_turn(self) -> float:
        """Return in how many seconds the next archive is due to be attended to; infinite if none is."""
        seconds = await backlog.seconds_to_next(self._db, ORDER)
        return float("inf") if seconds is None else max(seconds, 0)

    @transacted
    async def close_rested(self, tx: Transaction, lease: Lease, again: float) -> None:
        """Close the lease of an archive that needs nothing before `again` (seconds), and have it looked at."""
        await leases.close(tx, lease, Done(again_after=again))
        await leases.make_due(tx, WATCH, lease.row_id)

    @transacted
    async def call_back(self, tx: Transaction, lease: Lease, archive: Archive) -> None:
        """Have our IPFS node fetch the archive back, one more order placed, and the proof made anew."""
        await leases.hold(tx, lease)
        await evidence_store.void(tx, lease.row_id, "called back: the network holds too little of it")
        await tx.execute(
            "UPDATE zip_ipfs_info SET terms_wanted = %s WHERE zip_id = %s", (archive.terms + 1, lease.row_id)
        )
        await leases.make_due(tx, RESTORE, lease.row_id)

    async def note_expired(self, zip_id: int) -> None:
        """Note that the archive's order has run out, or vanished from the market."""
        await self._db.execute(
            "UPDATE zip_ipfs_info SET status = %s WHERE zip_id = %s AND status IN (%s, %s)",
            (EXPIRED, zip_id, ORDERED, LIVE),
        )

    async def latest(self) -> tuple[str, int] | None:
        """Return CID and size (bytes) of the archive that came to IPFS last, or None."""
        row = await self._db.fetch_one(
            "SELECT cid, dag_size FROM zip_ipfs_info WHERE dag_size IS NOT NULL ORDER BY zip_id DESC LIMIT 1"
        )
        return (row["cid"], row["dag_size"]) if row else None
