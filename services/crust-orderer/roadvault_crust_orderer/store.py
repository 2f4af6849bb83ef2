"""The SQL of archives, as who watches and who buys see them; see the other `*_store.py` for the rest.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

from roadvault_common.errors import PermanentError
from roadvault_common.retention.ends import HELD
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.sql.states import ArchiveStatus, OrderStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done
from roadvault_common.work.stages import RESTORE, WATCH
from roadvault_crust_orderer.buying import renewals_store
from roadvault_crust_orderer.proof import evidence_store

NOT_ORDERED, ORDERED, ORDER_FAILED, LIVE, EXPIRED, ENDED = (status.value for status in ArchiveStatus)
"""`zip_ipfs_info.status`; `roadvault_common.work.repair` writes `ORDER_FAILED`, and 0 again when a person retries."""
INTENDED, BOUGHT, REFUSED, NEVER_INCLUDED = (status.value for status in OrderStatus)
"""`order_info.status`."""


NOBODY = ""
"""The payer of an archive for which none has bought."""
_AT_ONCE = 100


@dataclass(frozen=True)
class Archive:
    """What an order needs to know of an archive. `dag_size` is bytes."""

    zip_id: int
    payer: str
    """The account that buys for it; empty while none has."""
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
            "SELECT zip_id, payer, cid, dag_size, status, dropped_at IS NOT NULL AND restored_at IS NULL AS gone,"  # noqa: S608
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

    async def next_renewal(self, payers: Sequence[str]) -> int | None:
        """Return, of payers' archives that are due and have had an order that ran, whose order ends first."""
        return await self._next("order_renews = 1 AND order_due <= UTC_TIMESTAMP(6) ORDER BY expires_at", payers)

    async def next_new(self, payers: Sequence[str]) -> int | None:
        """Return, of payers' archives that are due and never had an order that ran, which is due the longest."""
        return await self._next("order_renews = 0 AND order_due <= UTC_TIMESTAMP(6) ORDER BY order_due", payers)

    async def _next(self, which: str, payers: Sequence[str]) -> int | None:
        """Return an archive of the first of the payers that has one."""
        for payer in payers:
            zip_id: int | None = await self._db.fetch_value(
                f"SELECT zip_id FROM zip_ipfs_info WHERE payer = %s AND {which} LIMIT 1",  # noqa: S608 - as above
                (payer,),
            )
            if zip_id is not None:
                return zip_id
        return None

    async def seconds_to_turn(self, payers: Sequence[str]) -> float:
        """Return in how many seconds payers' next archive is due to be attended to; infinite if none is."""
        soonest = [
            await self._db.fetch_value(
                "SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(6), MIN(order_due)) FROM zip_ipfs_info"
                " WHERE payer = %s AND order_renews = %s",
                (payer, renews),
            )
            for payer in payers
            for renews in (0, 1)
        ]
        return min((max(us / 1e6, 0) for us in soonest if us is not None), default=float("inf"))

    @transacted
    async def pay_for(self, tx: Transaction, lease: Lease, account: str) -> bool:
        """Have an archive be the account's, if it is nobody's yet; tell whether it is."""
        await leases.hold(tx, lease)
        row = await tx.fetch_one("SELECT payer FROM zip_ipfs_info WHERE zip_id = %s", (lease.row_id,))
        if row is not None and row["payer"] == NOBODY:
            await _hand_to(tx, [lease.row_id], account)
        return row is not None and row["payer"] in {NOBODY, account}

    async def stand_in(self, account: str, heard: Collection[str], seconds: float) -> int:
        """Make archives the account's that have been due for `seconds`, of accounts whose orderers were not heard."""
        payers = await self._db.fetch_all("SELECT DISTINCT payer FROM zip_ipfs_info")
        taken = 0
        for payer in {row["payer"] for row in payers} - {*heard, account, NOBODY}:
            for renews in (0, 1):
                due = await self._db.fetch_all(
                    "SELECT zip_id FROM zip_ipfs_info WHERE payer = %s AND order_renews = %s"
                    " AND order_due <= UTC_TIMESTAMP(6) - INTERVAL %s SECOND LIMIT %s",
                    (payer, renews, seconds, _AT_ONCE),
                )
                if due:
                    ids = [row["zip_id"] for row in due]
                    await self._db.transact(partial(_hand_to, zip_ids=ids, account=account))
                    taken += len(ids)
        return taken

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


async def _hand_to(tx: Transaction, zip_ids: Sequence[int], account: str) -> None:
    """Have an account pay for archives from now on."""
    rows = await tx.fetch_all(
        f"SELECT zip_id, payer, expired_on, dag_size FROM zip_ipfs_info WHERE zip_id IN ({marks(zip_ids)})"  # noqa: S608
        " FOR UPDATE",
        tuple(zip_ids),
    )
    for row in rows:
        await renewals_store.note(tx, row["expired_on"], None, row["dag_size"], row["payer"])
        await renewals_store.note(tx, None, row["expired_on"], row["dag_size"], account)
    await tx.execute(
        f"UPDATE zip_ipfs_info SET payer = %s WHERE zip_id IN ({marks(zip_ids)})",  # noqa: S608 - marks
        (account, *zip_ids),
    )
