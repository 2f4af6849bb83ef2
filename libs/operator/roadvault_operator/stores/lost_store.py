"""SQL of a store that was written off: what the network has moves to another, what it has not is lost, and listed.

Each step takes some rows that are still the lost store's, found by its keys, in one transaction: so whoever was cut
off goes on where it was.
"""

from collections.abc import Sequence

from roadvault_common.files import copy_store
from roadvault_common.sql import audits
from roadvault_common.sql.audits import Place
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.sql.states import ArchiveStatus, FolderStatus, OrderStatus
from roadvault_common.work import lease as leases
from roadvault_common.work import reasons
from roadvault_common.work.reasons import Reason
from roadvault_common.work.stages import AUDIT, DROP, INSPECT, ORDER, PACK, PIN, PROVE, RESTORE, WATCH
from roadvault_operator.stores import moving_store

_ARCHIVES, _UPLOADS, _FILES = 20, 190, 190
"""That one transaction works on."""
_KEPT = (
    ("zip_store_path", "path > ''"),
    ("zip_store_restored", "restored_at IS NOT NULL"),
    ("zip_store_path", "path IS NULL AND uploads_dropped_at IS NULL"),
)
"""Archives of which a store has copies, each along a key; the last of a recovery, which found uploads alone."""
_LOCAL = (PIN, DROP, INSPECT, RESTORE)
_REST = (PROVE, AUDIT, ORDER, WATCH)
ORDERED = "ordered, and no replica was seen"
"""Why a file is lost of which somebody may have the archive."""
_TOLD = "the store was written off as lost"


class LostStore:
    """What a lost store had, and the store `to` that takes over what can be taken over."""

    def __init__(self, db: Database, store: str, to: str) -> None:
        self._db = db
        self._store = store
        self._to = to

    @transacted
    async def archives(self, tx: Transaction) -> int:
        """Write off, or move, archives of which the store had copies; return how many.

        Those of which it had none have moved before.
        """
        found: list[Row] = []
        for index, which in _KEPT:
            found = found or await tx.fetch_all(
                f"SELECT zip_id FROM zip_ipfs_info FORCE INDEX ({index}) WHERE store = %s AND {which} LIMIT %s",  # noqa: S608 - our own names
                (self._store, _ARCHIVES),
            )
        for row in found:
            await self._archive(tx, row["zip_id"])
        return len(found)

    async def _archive(self, tx: Transaction, zip_id: int) -> None:
        (row,) = await tx.fetch_all(
            "SELECT zip_id, kind, status, path, cid, replicas, uploads_dropped_at, restore_due IS NOT NULL"
            " OR restore_failed_at IS NOT NULL AS restoring, EXISTS (SELECT 1 FROM order_info WHERE order_info.zip_id ="
            " zip_ipfs_info.zip_id AND order_info.status IN (%s, %s)) AS bought FROM zip_ipfs_info WHERE zip_id = %s"
            " FOR UPDATE",
            (OrderStatus.INTENDED.value, OrderStatus.BOUGHT.value, zip_id),
        )
        evidence = await tx.fetch_one("SELECT proven_at FROM evidence_info WHERE zip_id = %s AND valid = 1", (zip_id,))
        for stage in _LOCAL:
            await leases.end(tx, stage, zip_id)
        ended = row["status"] == ArchiveStatus.ENDED or row["kind"] != "archive"
        held = evidence is not None or bool(row["cid"] and row["replicas"])
        if not ended and not held:
            await self._lose_archive(tx, row)
        await tx.execute("UPDATE file_upload_info SET path = NULL WHERE zip_id = %s", (zip_id,))
        await tx.execute(
            "UPDATE zip_ipfs_info SET path = NULL, restored_at = NULL,"
            " uploads_dropped_at = COALESCE(uploads_dropped_at, UTC_TIMESTAMP(6)),"
            " dropped_at = COALESCE(dropped_at, UTC_TIMESTAMP(6)) WHERE zip_id = %s",
            (zip_id,),
        )
        await audits.forget(tx, zip_id, Place.LOCAL)
        await moving_store.move_archives(tx, [zip_id], self._to)
        told = {"copies": "all that were here", "reason": _TOLD, "store": self._store}
        await record(tx, Line(Act.DROPPED, told, zip_id=zip_id))
        if held and not ended and (row["restoring"] or evidence is None or evidence["proven_at"] is None):
            await leases.make_due(tx, RESTORE, zip_id)

    async def _lose_archive(self, tx: Transaction, row: Row) -> None:
        """Give up an archive that the network has not; a market that was paid may still find that somebody has it."""
        zip_id = row["zip_id"]
        why = "packed, not on IPFS" if row["cid"] is None else "on IPFS, not ordered"
        if row["bought"]:
            why = ORDERED
        await tx.execute(
            "INSERT INTO lost_zip_info (zip_id, store, path, uploads_dropped_at) VALUES (%s, %s, %s, %s)"
            " ON DUPLICATE KEY UPDATE lost_at = UTC_TIMESTAMP(6)",
            (zip_id, self._store, row["path"], row["uploads_dropped_at"]),
        )
        for stage in (*_LOCAL, *(() if row["bought"] else _REST)):
            await leases.end(tx, stage, zip_id, self._reason(why))
        files = await tx.fetch_all("SELECT file_id, path FROM file_upload_info WHERE zip_id = %s", (zip_id,))
        await self._lose(tx, files, why)

    @transacted
    async def folder(self, tx: Transaction) -> int:
        """Write off the files of a folder that was not packed; return how many folders that were."""
        found = await tx.fetch_one(
            f"SELECT folder_id FROM folder_info WHERE store = %s AND status IN ({FolderStatus.OPEN},"  # noqa: S608 - our own numbers
            f" {FolderStatus.CLOSED}, {FolderStatus.FAILED}) LIMIT 1 FOR UPDATE",
            (self._store,),
        )
        if found is None:
            return 0
        folder_id = found["folder_id"]
        files = await tx.fetch_all(
            "SELECT file_id, path FROM file_upload_info WHERE folder_id = %s AND NOT EXISTS"
            " (SELECT 1 FROM set_aside_info WHERE file_id = file_upload_info.file_id)",
            (folder_id,),
        )
        why = "received, not packed"
        await self._lose(tx, files, why)
        await leases.end(tx, PACK, folder_id, self._reason(why))
        await tx.execute(
            f"UPDATE folder_info SET status = {FolderStatus.PACKED}, open_slot = NULL,"  # noqa: S608 - our own numbers
            " closed_at = COALESCE(closed_at, UTC_TIMESTAMP(6)) WHERE folder_id = %s",
            (folder_id,),
        )
        return 1

    @transacted
    async def set_aside(self, tx: Transaction) -> int:
        """Write off uploads that a person had to decide about; return how many."""
        files = await tx.fetch_all(
            "SELECT file_id, path, reason FROM set_aside_info JOIN file_upload_info USING (file_id)"
            " WHERE at_store = %s AND lost_at IS NULL LIMIT %s",
            (self._store, _FILES),
        )
        for row in files:
            await self._lose(tx, [row], f"it had been set aside: {reasons.words(row['reason'])}")
        return len(files)

    async def _lose(self, tx: Transaction, files: Sequence[Row], why: str) -> None:
        """Mark files as lost; what leads clients that send them once more to them goes.

        Those of which another store has a copy are its own from now on.
        """
        reason, rescued = self._reason(why), set[int]()
        for start in range(0, len(files), _FILES):
            rescued |= await copy_store.rescue(tx, [row["file_id"] for row in files[start : start + _FILES]])
        files = [row for row in files if row["file_id"] not in rescued]
        for start in range(0, len(files), _FILES):
            some = files[start : start + _FILES]
            store = self._store
            values = [value for row in some for value in (row["file_id"], str(reason), store, store, row["path"])]
            await tx.execute(
                "INSERT INTO set_aside_info (file_id, reason, lost_at, at_store, lost_store, lost_path) VALUES"  # noqa: S608
                f" {', '.join(['(%s, %s, UTC_TIMESTAMP(6), %s, %s, %s)'] * len(some))} ON DUPLICATE KEY UPDATE"
                " reason = VALUES(reason), lost_at = VALUES(lost_at), lost_store = VALUES(lost_store),"
                " lost_path = VALUES(lost_path)",
                values,
            )
            ids = [row["file_id"] for row in some]
            await tx.execute(f"UPDATE file_upload_info SET path = NULL WHERE file_id IN ({marks(ids)})", ids)  # noqa: S608 - marks
            await tx.execute(f"DELETE FROM upload_key_info WHERE file_id IN ({marks(ids)})", ids)  # noqa: S608 - marks
            told = {"reason": reason.words, "store": self._store}
            await record(tx, *(Line(Act.GIVEN_UP, told, file_id) for file_id in ids))

    @transacted
    async def uploads(self, tx: Transaction) -> int:
        """Write off uploads that were not whole: their clients begin anew; return how many."""
        rows = await tx.fetch_all(
            "SELECT upload_id FROM upload_info WHERE store = %s AND file_id IS NULL LIMIT %s FOR UPDATE",
            (self._store, _UPLOADS),
        )
        if not rows:
            return 0
        ids = [row["upload_id"] for row in rows]
        await tx.execute(
            "INSERT IGNORE INTO lost_upload_info (upload_id, store, size, came, metadata, camera, peer, begun_at)"  # noqa: S608
            " SELECT upload_id, store, size, came, metadata, camera, peer, create_time FROM upload_info"
            f" WHERE upload_id IN ({marks(ids)})",
            ids,
        )
        await tx.execute(f"DELETE FROM upload_info WHERE upload_id IN ({marks(ids)})", ids)  # noqa: S608 - marks
        return len(ids)

    def _reason(self, why: str) -> Reason:
        return Reason("store_lost", f"lost with the store {self._store}: {why}", store=self._store)


async def lost_files(db: Database, store: str, after: int, limit: int = _FILES) -> list[Row]:
    """Return files that were lost with a store, behind a file id."""
    return await db.fetch_all(
        "SELECT file_id, file_name, size, sha256, camera, recorded_at, create_time, reason, lost_path AS path, zip_id,"
        " folder_id FROM set_aside_info JOIN file_upload_info AS file USING (file_id)"
        " WHERE lost_store = %s AND lost_at IS NOT NULL AND file_id > %s ORDER BY file_id LIMIT %s",
        (store, after, limit),
    )


async def lost_uploads(db: Database, store: str, after: str, limit: int = _FILES) -> list[Row]:
    """Return uploads that were lost with a store before they were whole, behind an upload's id."""
    return await db.fetch_all(
        "SELECT upload_id, metadata, camera, size, came, begun_at FROM lost_upload_info WHERE store = %s"
        " AND upload_id > %s ORDER BY upload_id LIMIT %s",
        (store, after, limit),
    )
