"""SQL of a store that comes back: what was lost with it, and lies on its disk after all, is its own again."""

from collections.abc import Collection, Sequence

from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, marks, transacted
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import AUDIT, ORDER, PIN, PROVE, RESTORE, WATCH
from roadvault_operator.stores import moving_store

_AT_ONCE = 190
_BACK = "its store came back"


class AdoptStore:
    """What was lost with a store, as far as it is found again."""

    def __init__(self, db: Database, store: str) -> None:
        self._db = db
        self._store = store

    async def archives(self, after: int) -> list[Row]:
        """Return archives that were lost with the store, behind an id, and where they lay."""
        return await self._db.fetch_all(
            "SELECT zip_id, lost.path, size FROM lost_zip_info AS lost JOIN zip_ipfs_info USING (zip_id)"
            " WHERE lost.store = %s AND zip_id > %s ORDER BY zip_id LIMIT %s",
            (self._store, after, _AT_ONCE),
        )

    async def uploads_of(self, zip_id: int) -> list[Row]:
        """Return the files of such an archive, with where their uploads lay; NULL: they had been dropped."""
        return await self._db.fetch_all(
            "SELECT file_id, lost_path AS path FROM file_upload_info JOIN set_aside_info USING (file_id)"
            " WHERE zip_id = %s AND lost_store = %s",
            (zip_id, self._store),
        )

    @transacted
    async def take_archive(self, tx: Transaction, zip_id: int, there: Collection[int]) -> bool:
        """Have an archive be the store's again, to be put on IPFS anew, with those uploads that are `there`.

        False if it is not lost any more.
        """
        row = await tx.fetch_one(
            "SELECT path, uploads_dropped_at FROM lost_zip_info WHERE zip_id = %s AND store = %s FOR UPDATE",
            (zip_id, self._store),
        )
        if row is None:
            return False
        await tx.execute("DELETE FROM lost_zip_info WHERE zip_id = %s", (zip_id,))
        files = await tx.fetch_all(
            "SELECT file_id, lost_path AS path FROM file_upload_info JOIN set_aside_info USING (file_id)"
            " WHERE zip_id = %s AND lost_store = %s",
            (zip_id, self._store),
        )
        await _name(tx, [one for one in files if one["file_id"] in there])
        ids = [one["file_id"] for one in files]
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            await tx.execute(f"DELETE FROM set_aside_info WHERE file_id IN ({marks(some)})", some)  # noqa: S608 - marks
        await moving_store.move_archives(tx, [zip_id], self._store)
        await tx.execute(
            "UPDATE zip_ipfs_info SET path = %s, uploads_dropped_at = %s, dropped_at = NULL WHERE zip_id = %s",
            (row["path"], row["uploads_dropped_at"], zip_id),
        )
        for stage in (PROVE, AUDIT, ORDER, WATCH):  # of what was bought it goes on
            await tx.execute(
                stage.sql("UPDATE {table} SET {reason} = NULL WHERE {key} = %s AND {due} IS NULL"), (zip_id,)
            )
        await leases.end(tx, RESTORE, zip_id)
        await leases.end(tx, PIN, zip_id)
        await leases.make_due(tx, PIN, zip_id)
        await record(tx, *(Line(Act.MENDED, {"reason": _BACK}, file_id) for file_id in ids))
        return True

    @transacted
    async def take_files(self, tx: Transaction, files: Sequence[Row]) -> None:
        """Have lost files whose uploads lie where they lay wait for a decision again."""
        ids = [row["file_id"] for row in files]
        await tx.execute(
            "UPDATE set_aside_info SET lost_at = NULL, lost_store = NULL, lost_path = NULL"  # noqa: S608 - marks
            f" WHERE lost_store = %s AND file_id IN ({marks(ids)})",
            (self._store, *ids),
        )
        await tx.execute(
            f"UPDATE file_upload_info SET zip_id = NULL, zip_offset = NULL WHERE file_id IN ({marks(ids)})",  # noqa: S608 - marks
            ids,
        )
        await _name(tx, files)

    async def waiting(self, after: int) -> list[Row]:
        """Return the store's uploads that wait for a decision, behind a file id, as `set_aside_store.waiting` does."""
        return await self._db.fetch_all(
            "SELECT file_id, file_name, size, sha256, file.path, folder_id, reason, found_at FROM set_aside_info"
            " JOIN file_upload_info AS file USING (file_id)"
            " WHERE at_store = %s AND lost_at IS NULL AND file_id > %s ORDER BY file_id LIMIT %s",
            (self._store, after, _AT_ONCE),
        )


async def _name(tx: Transaction, files: Sequence[Row]) -> None:
    """Have files name their uploads again."""
    for row in files:
        await tx.execute("UPDATE file_upload_info SET path = %s WHERE file_id = %s", (row["path"], row["file_id"]))
