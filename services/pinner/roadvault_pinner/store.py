"""The pinner's SQL.

Whatever is given a lease raises LeaseLost if another worker has the row, and has then written nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from roadvault_common.archive.label import FORMAT
from roadvault_common.archive.verify import Member
from roadvault_common.errors import PermanentError
from roadvault_common.retention.ends import PERIOD_KEY
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Audit, Place
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Transaction, marks, transacted
from roadvault_common.stores import MAIN
from roadvault_common.work import batches, reasons
from roadvault_common.work import lease as leases
from roadvault_common.work.lease import Lease
from roadvault_common.work.outcome import Done, Outcome
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import DROP, INSPECT, ORDER, PIN, PROVE, RESTORE, WATCH

COUNT_SECONDS = 300
"""A count of replicas that is older says nothing of the present. It is made anew at the end of a proof."""
PROOF_SECONDS = 86_400
"""So is a proof that is older."""


@dataclass(frozen=True)
class Archive:
    """What the pinner needs to know of an archive. Sizes are bytes; `path` is relative to the data directory."""

    zip_id: int
    path: str | None
    key: str
    master_key: str | None
    period_key: str | None
    iv: str
    size: int
    files: int
    cid: str | None
    format: int
    """Of what is on IPFS."""
    uploads_dropped_at: datetime | None
    restored_at: datetime | None
    replicas: int
    """On the network, as the market last counted them."""
    asked: int
    """Whether the market was asked at all: not yet of one that was recovered."""
    label: bytes | None
    """The archive's label; None if it was written without one."""
    node: bytes | None
    """The block of the directory that links both on IPFS."""

    @property
    def labelled(self) -> bool:
        """Whether it is, or is to be, on IPFS in a directory with its label."""
        return self.label is not None and (self.cid is None or self.format > 1)

    @property
    def kept(self) -> bool:
        """Whether our disk or our IPFS node still has the archive."""
        return self.path is not None or self.restored_at is not None


@dataclass(frozen=True)
class Look:
    """What evidence there is, right now, that the network holds an archive.

    It is `held` if that was proven and nothing speaks against it; `waits` is what has to be seen anew before local
    copies may go, or None.
    """

    held: bool
    waits: Reason | None = None

    @property
    def may_go(self) -> bool:
        """Whether local copies may be removed, if that is done at once."""
        return self.held and self.waits is None


class PinnerStore:
    """Reads archives and their members, writes what became of them."""

    def __init__(self, db: Database, store: str = MAIN) -> None:
        self._db = db
        self._name = store

    async def archive(self, zip_id: int) -> Archive:
        """Return the archive's row.

        Raises:
            PermanentError: There is none.
        """
        row = await self._db.fetch_one(
            f"SELECT zip_id, path, `key`, master_key, {PERIOD_KEY.format(zip='zip_ipfs_info')} AS period_key, iv,"  # noqa: S608
            " size, files, cid, format, uploads_dropped_at, restored_at,"
            " replicas, checked_at IS NOT NULL AS asked, label, node"
            " FROM zip_ipfs_info LEFT JOIN label_info USING (zip_id) WHERE zip_id = %s",
            (zip_id,),
        )
        if row is None:
            raise PermanentError(f"there is no archive {zip_id}")
        return Archive(**row)

    async def members(self, zip_id: int) -> list[Member]:
        """Return the archive's members in the order in which they stand in it."""
        rows = await self._db.fetch_all(
            "SELECT file_id, zip_offset AS `offset`, size, sha256 FROM file_upload_info"
            " WHERE zip_id = %s ORDER BY zip_offset",
            (zip_id,),
        )
        return [Member(**row) for row in rows]

    @transacted
    async def close_pinned(
        self, tx: Transaction, lease: Lease, cid: str, dag_size: int, node: bytes | None = None, *, inspect_in: float
    ) -> None:
        """Close the lease: the archive is on IPFS, due for an order, and its uploads may be dropped.

        `node` is the block of the directory that it is in, with its label. All of it was read and checked on the way:
        the first inspection is due in `inspect_in` seconds.
        """
        await leases.close(tx, lease, Done())
        await tx.execute(
            "UPDATE zip_ipfs_info SET cid = %s, format = %s, dag_size = %s, pinned_at = UTC_TIMESTAMP(6)"
            " WHERE zip_id = %s",
            (cid, 1 if node is None else FORMAT, dag_size, lease.row_id),
        )
        if node is not None:
            await tx.execute("UPDATE label_info SET node = %s WHERE zip_id = %s", (node, lease.row_id))
        await record(tx, Line(Act.PINNED, {"cid": cid, "size": dag_size}, zip_id=lease.row_id))
        row = await tx.fetch_one("SELECT files, size FROM zip_ipfs_info WHERE zip_id = %s", (lease.row_id,))
        if row is not None:
            await audits.note(tx, lease.row_id, Place.LOCAL, Audit(row["files"], row["size"], "pinned"))
        await batches.schedule(tx, INSPECT, lease.row_id, inspect_in)
        await leases.make_due(tx, ORDER, lease.row_id, hurry=False)  # to pin again changes nothing for its order
        await leases.make_due(tx, DROP, lease.row_id)

    @transacted
    async def close_rotten(self, tx: Transaction, lease: Lease) -> None:
        """Close the lease of an archive that was to be pinned again, and has rotted: it is due to be restored."""
        await leases.close(tx, lease, Done())
        await leases.make_due(tx, RESTORE, lease.row_id)

    @transacted
    async def close_restored(self, tx: Transaction, lease: Lease) -> None:
        """Close the lease: our IPFS node holds the archive again."""
        await leases.close(tx, lease, Done())
        await tx.execute(
            "UPDATE zip_ipfs_info SET restored_at = IF(path IS NULL, UTC_TIMESTAMP(6), NULL) WHERE zip_id = %s",
            (lease.row_id,),
        )
        await record(tx, Line(Act.RESTORED, {"to": "our IPFS node"}, zip_id=lease.row_id))
        await leases.make_due(tx, DROP, lease.row_id)  # it may be proven again already
        await leases.make_due(tx, INSPECT, lease.row_id)

    @transacted
    async def restore_kept(self, tx: Transaction, cids: Sequence[str]) -> bool:
        """Have those of the CIDs restored that are archives which are kept here; False if none is."""
        rows = await tx.fetch_all(
            f"SELECT zip_id FROM zip_ipfs_info WHERE cid IN ({marks(cids)}) AND store = %s"  # noqa: S608 - marks
            " AND (path IS NOT NULL OR restored_at IS NOT NULL) FOR UPDATE",
            (*cids, self._name),
        )
        for row in rows:
            await leases.make_due(tx, RESTORE, row["zip_id"], hurry=False)
        return bool(rows)

    async def upload_paths(self, zip_id: int) -> list[str]:
        """Return the paths of the archive's uploads that are still recorded."""
        rows = await self._db.fetch_all(
            "SELECT path FROM file_upload_info WHERE zip_id = %s AND path IS NOT NULL", (zip_id,)
        )
        return [row["path"] for row in rows]

    async def look_again(self, lease: Lease) -> Look:
        """Return whether local copies may go now; what is too old for that is made due to be seen anew."""

        async def look(tx: Transaction) -> Look:
            await leases.hold(tx, lease)  # and with it the row: what makes evidence void locks it, too
            row = await tx.fetch_one(
                "SELECT TIMESTAMPDIFF(SECOND, counted_at, UTC_TIMESTAMP(6)) AS counted,"
                " TIMESTAMPDIFF(SECOND, proven_at, UTC_TIMESTAMP(6)) AS proven, pin_due IS NOT NULL AS pinning,"
                " IF(watch_failed_at IS NULL, NULL, watch_reason) AS watch_failure,"
                " IF(prove_failed_at IS NULL, NULL, prove_reason) AS prove_failure"
                " FROM evidence_info JOIN zip_ipfs_info USING (zip_id) WHERE zip_id = %s AND valid = 1",
                (lease.row_id,),
            )
            if row is None or row["proven"] is None:
                return Look(held=False)
            if row["proven"] >= PROOF_SECONDS:
                await leases.make_due(tx, PROVE, lease.row_id, hurry=False)
                return Look(held=True, waits=_waits("reproof", "the proof", row["proven"], row["prove_failure"]))
            if row["counted"] >= COUNT_SECONDS:
                await leases.make_due(tx, WATCH, lease.row_id, hurry=False)
                return Look(
                    held=True, waits=_waits("recount", "the count of replicas", row["counted"], row["watch_failure"])
                )
            pinning = Reason("at_work", "it is being pinned again")
            return Look(held=True, waits=pinning if row["pinning"] else None)

        return await self._db.transact(look)

    @transacted
    async def note_uploads_dropped(self, tx: Transaction, lease: Lease) -> None:
        """Note that the archive's uploads are gone; the lease goes on."""
        await leases.hold(tx, lease)
        await tx.execute("UPDATE file_upload_info SET path = NULL WHERE zip_id = %s", (lease.row_id,))
        await tx.execute(
            "UPDATE zip_ipfs_info SET uploads_dropped_at = UTC_TIMESTAMP(6) WHERE zip_id = %s", (lease.row_id,)
        )
        await record(tx, Line(Act.DROPPED, {"copies": "uploads"}, zip_id=lease.row_id))

    @transacted
    async def close_kept(self, tx: Transaction, lease: Lease, outcome: Outcome) -> None:
        """Close the lease of a drop that has to leave the archive where it is: our IPFS node is to hold it again."""
        await leases.close(tx, lease, outcome)
        row = await tx.fetch_one("SELECT path FROM zip_ipfs_info WHERE zip_id = %s", (lease.row_id,))
        if row is not None and row["path"] is not None:
            await leases.make_due(tx, PIN, lease.row_id)
            return
        await tx.execute("UPDATE zip_ipfs_info SET restored_at = NULL WHERE zip_id = %s", (lease.row_id,))
        await leases.make_due(tx, RESTORE, lease.row_id)

    @transacted
    async def close_dropped(self, tx: Transaction, lease: Lease, *, archive: bool) -> None:
        """Close the lease and record whether the local archive went."""
        await leases.close(tx, lease, Done())
        if archive:
            await tx.execute(
                "UPDATE zip_ipfs_info SET path = NULL, restored_at = NULL, dropped_at = UTC_TIMESTAMP(6)"
                " WHERE zip_id = %s",
                (lease.row_id,),
            )
            await record(tx, Line(Act.DROPPED, {"copies": "local archive"}, zip_id=lease.row_id))
            await audits.forget(tx, lease.row_id, Place.LOCAL)
            await leases.settle(tx, INSPECT, lease.row_id)
        # It may have been proven while this lease was at work: then there is more to drop.
        await tx.execute(
            "UPDATE zip_ipfs_info SET drop_due = UTC_TIMESTAMP(6) WHERE zip_id = %s"
            " AND (path IS NOT NULL OR restored_at IS NOT NULL OR uploads_dropped_at IS NULL) AND EXISTS (SELECT 1"
            " FROM evidence_info WHERE zip_id = zip_ipfs_info.zip_id AND valid = 1 AND proven_at IS NOT NULL)",
            (lease.row_id,),
        )


def _waits(code: str, what: str, age: int, failure: str | None) -> Reason:
    waits = Reason(code, f"{what} is {age} s old: it is made anew before local copies go", age_seconds=age)
    if failure is None:
        return waits
    return waits.again(f"{waits}; that has failed, and has to be retried first: {reasons.words(failure)}")
