"""SQL of recovery: rows are written with the numbers that they had."""

from collections.abc import Sequence
from datetime import UTC
from typing import NamedTuple

from roadvault_common.files import facts, set_aside_store
from roadvault_common.files.tags import Tag, file_type
from roadvault_common.sql.custody_lines import Act, Line, record
from roadvault_common.sql.db import Database, Row, Transaction, marks
from roadvault_common.sql.states import ArchiveStatus, FolderStatus
from roadvault_common.videos.enrolling import enrol

AT_ONCE = 100
"""Rows that are asked for, or written, in one statement."""


class Upload(NamedTuple):
    """An upload to adopt."""

    path: str
    """Relative to the data directory."""
    tag: Tag
    fault: str | None
    """Why its bytes are not what they were."""


async def known(db: Database, file_ids: list[int]) -> dict[int, Row]:
    """Return `file_id` and `sha256` of those files that have a row; at most AT_ONCE are asked for.

    One is `kept` beside its archive, which the network is not proven to hold, if its row names no upload.
    """
    rows = await db.fetch_all(
        "SELECT file_id, sha256, file.path IS NULL AND zip.status IS NOT NULL"  # noqa: S608 - placeholders
        f" AND zip.status <> {ArchiveStatus.ENDED} AND NOT EXISTS (SELECT 1 FROM evidence_info"
        " WHERE evidence_info.zip_id = file.zip_id AND valid = 1 AND proven_at IS NOT NULL) AS kept"
        " FROM file_upload_info AS file LEFT JOIN zip_ipfs_info AS zip USING (zip_id)"
        f" WHERE file_id IN ({marks(file_ids)})",
        file_ids,
    )
    return {row["file_id"]: row for row in rows}


async def keep(db: Database, upload: Upload) -> None:
    """Name an upload again, beside the archive that it is in: it goes when the uploads of that are dropped."""

    async def write(tx: Transaction) -> None:
        await tx.execute(
            "UPDATE file_upload_info JOIN zip_ipfs_info AS zip USING (zip_id)"
            " SET file_upload_info.path = %s, zip.uploads_dropped_at = NULL"
            " WHERE file_id = %s AND file_upload_info.path IS NULL",
            (upload.path, upload.tag.file_id),
        )

    await db.transact(write)


async def adopt(db: Database, uploads: Sequence[Upload]) -> int:
    """Write rows of uploads, in a new folder that is closed and due to be packed; return that.

    Those with a fault are set aside, as the packer does: the others are packed without them.
    """

    async def write(tx: Transaction) -> int:
        folder_id = await tx.insert(
            "INSERT INTO folder_info (status, files, bytes, close_at, closed_at, pack_due)"  # noqa: S608 - our own numbers
            f" VALUES ({FolderStatus.CLOSED}, %s, %s, UTC_TIMESTAMP(6), UTC_TIMESTAMP(6), UTC_TIMESTAMP(6))",
            (len(uploads), sum(upload.tag.size for upload in uploads)),
        )
        for begin in range(0, len(uploads), AT_ONCE):
            await _insert(tx, folder_id, uploads[begin : begin + AT_ONCE])
        await record(tx, *(_adopted(upload, folder_id) for upload in uploads))
        await set_aside_store.add(tx, {upload.tag.file_id: upload.fault for upload in uploads if upload.fault})
        return folder_id

    return await db.transact(write)


def _adopted(upload: Upload, folder_id: int) -> Line:
    tag = upload.tag
    return Line(Act.ADOPTED, {"sha256": tag.sha256, "size": tag.size, "folder": folder_id}, tag.file_id)


async def _insert(tx: Transaction, folder_id: int, uploads: Sequence[Upload]) -> None:
    rows = ", ".join([f"(%s, %s, %s, %s, %s, %s, %s, %s, {marks(facts.COLUMNS)})"] * len(uploads))
    values: list[object] = []
    for path, tag, _ in uploads:
        received = tag.received.astimezone(UTC).replace(tzinfo=None)
        values += [tag.file_id, tag.name, file_type(tag.name), tag.size, tag.sha256, path, folder_id, received]
        values += facts.values(tag)
    await tx.execute(
        "INSERT INTO file_upload_info (file_id, file_name, file_type, size, sha256, path, folder_id, create_time,"  # noqa: S608
        f" {', '.join(facts.COLUMNS)}) VALUES {rows}",
        values,
    )
    await facts.insert_tags(tx, ((upload.tag.file_id, upload.tag) for upload in uploads))
    await enrol(tx, [upload.tag.file_id for upload in uploads])
