"""SQL of files that wait to be packed and are in an archive that comes back: their rows are from before it was made."""

from collections.abc import Mapping, Sequence

import orjson

from roadvault_common.errors import IntegrityError
from roadvault_common.sql.db import Row, Transaction, marks
from roadvault_common.sql.states import FileStatus, FolderStatus
from roadvault_common.work import lease as leases
from roadvault_common.work.stages import PACK
from roadvault_operator.recover.manifest import File, Manifest

_AT_ONCE = 500
"""Rows that are named in one statement."""


async def find(tx: Transaction, manifest: Manifest) -> dict[int, Row]:
    """Return the rows of an archive's files that wait to be packed, by number; they and their folders are locked.

    None are returned if one is in an archive by now: then nothing of this one can be written.

    Raises:
        IntegrityError: One of them is another file, or is being packed at this moment.
    """
    folders = {row["folder_id"] for row in await _rows(tx, manifest.files)}
    if not folders:
        return {}
    await _lock(tx, sorted({*folders, manifest.folder}))  # before their files, as the packer does
    rows = {row["file_id"]: row for row in await _rows(tx, manifest.files, "FOR UPDATE")}
    if any(row["zip_id"] is not None for row in rows.values()):
        return {}
    for file in manifest.files:
        row = rows.get(file.fileID)
        if row is not None and (row["sha256"], row["size"]) != (file.sha256, file.size):
            raise IntegrityError(f"file {file.fileID} is another one here, which waits to be packed")
    return rows


async def _rows(tx: Transaction, files: Sequence[File], lock: str = "") -> list[Row]:
    rows = list[Row]()
    for begin in range(0, len(files), _AT_ONCE):
        some = [file.fileID for file in files[begin : begin + _AT_ONCE]]
        rows += await tx.fetch_all(
            "SELECT file_id, folder_id, zip_id, size, sha256, path FROM file_upload_info"  # noqa: S608 - placeholders
            f" WHERE file_id IN ({marks(some)}) ORDER BY file_id {lock}",
            some,
        )
    return rows


async def _lock(tx: Transaction, folders: Sequence[int]) -> None:
    rows = await tx.fetch_all(
        PACK.sql(
            "SELECT folder_id, {token} IS NOT NULL AND {due} > {now} AS at_work FROM {table}"
            " WHERE folder_id IN ({folders}) ORDER BY folder_id FOR UPDATE",
            folders=marks(folders),
        ),
        folders,
    )
    busy = [str(row["folder_id"]) for row in rows if row["at_work"]]
    if busy:
        raise IntegrityError(
            f"files of it are being packed once more at this moment, from folder {', '.join(busy)}: stop the packer,"
            " and run it again"
        )


async def take(tx: Transaction, found: Mapping[int, Row], manifest: Manifest, zip_id: int) -> None:
    """Have files that `find` found be in an archive; what else is in their folders goes on waiting to be packed."""
    members = [file for file in manifest.files if file.fileID in found]
    offsets = [{"f": file.fileID, "o": file.offset} for file in members]
    await tx.execute(
        "UPDATE file_upload_info AS file JOIN JSON_TABLE(%s, '$[*]' COLUMNS"  # noqa: S608 - our own numbers
        " (file_id BIGINT PATH '$.f', zip_offset BIGINT PATH '$.o')) AS member USING (file_id)"
        " SET file.folder_id = %s, file.zip_id = %s, file.zip_offset = member.zip_offset,"
        f" file.status = IF(file.status = {FileStatus.NOT_PACKED}, {FileStatus.PACKED}, file.status)",
        (orjson.dumps(offsets).decode(), manifest.folder, zip_id),
    )
    for begin in range(0, len(members), _AT_ONCE):
        some = [file.fileID for file in members[begin : begin + _AT_ONCE]]
        await tx.execute(f"DELETE FROM set_aside_info WHERE file_id IN ({marks(some)})", some)  # noqa: S608
    for folder_id in sorted({row["folder_id"] for row in found.values()} - {manifest.folder}):
        await _count_anew(tx, folder_id)


async def make_way(tx: Transaction, folder_id: int) -> bool:
    """Let an archive have a folder's number; files of it that are in no archive wait in a new one. False: it is new."""
    there = await tx.fetch_one("SELECT 1 FROM folder_info WHERE folder_id = %s FOR UPDATE", (folder_id,))
    if there is None:
        return False
    others = await tx.fetch_one(
        "SELECT 1 FROM file_upload_info WHERE folder_id = %s AND zip_id IS NULL LIMIT 1", (folder_id,)
    )
    if others is not None:
        new = await tx.insert(
            f"INSERT INTO folder_info (status, close_at, closed_at) VALUES ({FolderStatus.CLOSED}, UTC_TIMESTAMP(6),"  # noqa: S608
            " UTC_TIMESTAMP(6))"
        )
        await tx.execute(
            "UPDATE file_upload_info SET folder_id = %s WHERE folder_id = %s AND zip_id IS NULL", (new, folder_id)
        )
        await _count_anew(tx, new)
    await leases.end(tx, PACK, folder_id)
    return True


async def _count_anew(tx: Transaction, folder_id: int) -> None:
    """Write what is in a folder; one that waits to be packed is due for that, by nobody who has begun with it."""
    counted = await tx.fetch_one(
        "SELECT COUNT(*) AS files, COALESCE(SUM(size), 0) AS bytes FROM file_upload_info WHERE folder_id = %s",
        (folder_id,),
    )
    assert counted is not None  # noqa: S101 - it counts
    await tx.execute(
        "UPDATE folder_info SET files = %s, bytes = %s WHERE folder_id = %s",
        (counted["files"], counted["bytes"], folder_id),
    )
    folder = await tx.fetch_one("SELECT status FROM folder_info WHERE folder_id = %s", (folder_id,))
    if folder is None or folder["status"] not in {FolderStatus.CLOSED, FolderStatus.FAILED}:
        return
    await leases.end(tx, PACK, folder_id)
    if counted["files"]:
        await leases.make_due(tx, PACK, folder_id)
    else:
        await tx.execute(
            f"UPDATE folder_info SET status = {FolderStatus.PACKED} WHERE folder_id = %s",  # noqa: S608 - our own numbers
            (folder_id,),
        )
